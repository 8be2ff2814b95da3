"""Formulas of LaTeX that every front end can set, and that can do nothing else."""

from __future__ import annotations

import re
from itertools import accumulate

ENVIRONMENTS = (
    "matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix array cases dcases rcases drcases"
    " aligned alignedat gathered split align align* alignat alignat* equation equation* gather"
    " gather* eqnarray eqnarray* multline multline* subarray").split()

_COMMANDS = frozenset("""
And Bbb Bbbk Big Bigg Biggl Biggm Biggr Bigl Bigm Bigr Box Bra Braket Bumpeq Cap Colonapprox
Coloneq Coloneqq Colonsim Cup Delta Diamond Doteq Downarrow Eqcolon Eqqcolon Finv Game Gamma
Huge Im Join Ket LARGE LaTeX Lambda Large Leftarrow Leftrightarrow Lleftarrow Longleftarrow
Longleftrightarrow Longrightarrow Lsh Omega Phi Pi Pr Psi Re Rightarrow Rrightarrow Rsh S Set
Sigma Subset Supset TeX Theta Uparrow Updownarrow Upsilon Vdash Vert Vvdash Xi acute aleph alpha
amalg angle approx approxeq arccos arcsin arctan arg ast asymp atop backepsilon backprime
backsim backsimeq backslash bar barwedge bcancel because beta beth between bf big bigcap bigcirc
bigcup bigg biggl biggm biggr bigl bigm bigodot bigoplus bigotimes bigr bigsqcup bigstar
bigtriangledown bigtriangleup biguplus bigvee bigwedge binom blacklozenge blacksquare
blacktriangle blacktriangledown blacktriangleleft blacktriangleright bmod boldsymbol bot bowtie
boxdot boxed boxminus boxplus boxtimes bra brace brack braket breve bullet bumpeq cal cancel cap
cdot cdotp cdots centerdot cfrac check checkmark chi choose circ circeq circlearrowleft
circlearrowright circledR circledS circledast circledcirc circleddash clap clubsuit colon
colonapprox coloneq coloneqq colonsim complement cong coprod cos cosh cot coth csc cup
curlyeqprec curlyeqsucc curlyvee curlywedge curvearrowleft curvearrowright dagger daleth
dashleftarrow dashrightarrow dashv dbinom dblcolon ddagger ddddot dddot ddot ddots deg degree
delta det dfrac diagdown diagup diamond diamondsuit digamma dim displaystyle div divideontimes
dot doteq doteqdot dotplus dots dotsb dotsc dotsi dotsm dotso doublebarwedge doublecap doublecup
downarrow downdownarrows downharpoonleft downharpoonright ell emptyset enspace epsilon eqcirc
eqcolon eqqcolon eqsim eqslantgtr eqslantless equiv eta eth exists exp fallingdotseq fbox flat
forall frac frak frown gamma gcd ge geq geqq geqslant gets gg ggg gggtr gimel gnapprox gneq
gneqq gnsim grave gt gtrapprox gtrdot gtreqless gtreqqless gtrless gtrsim gvertneqq hat hbar
hbox hdashline heartsuit hline hom hookleftarrow hookrightarrow hphantom hslash huge iff iiint
iint imath impliedby implies in inf infty injlim int intercal intop iota it jmath kappa ker ket
lVert lambda land langle large lbrace lbrack lceil ldotp ldots le leadsto left leftarrow
leftarrowtail leftharpoondown leftharpoonup leftleftarrows leftrightarrow leftrightarrows
leftrightharpoons leftrightsquigarrow leftthreetimes leq leqq leqslant lessapprox lessdot
lesseqgtr lesseqqgtr lessgtr lesssim lfloor lg lgroup lhd lim liminf limits limsup ll llap
llcorner lll llless lmoustache ln lnapprox lneq lneqq lnot lnsim log longleftarrow
longleftrightarrow longmapsto longrightarrow looparrowleft looparrowright lor lozenge lparen
lrcorner lt ltimes lvert lvertneqq maltese mapsto mathbb mathbf mathbin mathcal mathchoice
mathclap mathclose mathfrak mathinner mathit mathllap mathnormal mathop mathopen mathord
mathpunct mathrel mathring mathrlap mathrm mathscr mathsf mathsfit mathstrut mathtt max
measuredangle mho mid middle min mod models mp mu multimap nLeftarrow nLeftrightarrow
nRightarrow nVDash nVdash nabla natural ncong ne nearrow neg negmedspace negthickspace
negthinspace neq newline nexists ngeq ngeqq ngeqslant ngtr ni nleftarrow nleftrightarrow nleq
nleqq nleqslant nless nmid nobreakspace nolimits nonumber normalsize not notag notin nparallel
nprec npreceq nrightarrow nshortmid nshortparallel nsim nsubseteq nsubseteqq nsucc nsucceq
nsupseteq nsupseteqq ntriangleleft ntrianglelefteq ntriangleright ntrianglerighteq nu nvDash
nvdash nwarrow odot oint omega omicron ominus operatorname oplus ordinarycolon oslash otimes
over overbrace overbracket overleftarrow overleftrightarrow overline overrightarrow overset owns
parallel partial perp phantom phi pi pitchfork pm pmb pmod pod prec precapprox preccurlyeq
preceq precnapprox precneqq precnsim precsim prime prod projlim propto psi qquad quad rVert
rangle rbrace rbrack rceil restriction rfloor rgroup rhd rho right rightarrow rightarrowtail
rightharpoondown rightharpoonup rightleftarrows rightleftharpoons rightrightarrows
rightsquigarrow rightthreetimes risingdotseq rlap rm rmoustache rparen rtimes rvert
scriptscriptstyle scriptsize scriptstyle searrow sec set setminus sf sharp shortmid
shortparallel sigma sim simeq sin sinh small smallfrown smallint smallsetminus smallsmile smash
smile space spadesuit sphericalangle sqcap sqcup sqrt sqsubset sqsubseteq sqsupset sqsupseteq
square stackrel star subset subseteq subseteqq subsetneq subsetneqq substack succ succapprox
succcurlyeq succeq succnapprox succneqq succnsim succsim sum sup supset supseteq supseteqq
supsetneq supsetneqq surd swarrow tan tanh tau tbinom text textbf textcopyright textit
textnormal textregistered textrm textsf textstyle texttt textup tfrac therefore theta
thickapprox thicksim thinspace tilde times tiny to top triangle triangledown triangleleft
trianglelefteq triangleq triangleright trianglerighteq tt twoheadleftarrow twoheadrightarrow
ulcorner underbrace underbracket underleftarrow underleftrightarrow underline underrightarrow
underset unlhd unrhd uparrow updownarrow upharpoonleft upharpoonright uplus upsilon upuparrows
urcorner vDash varDelta varGamma varLambda varOmega varPhi varPi varPsi varSigma varTheta
varUpsilon varXi varepsilon varinjlim varkappa varliminf varlimsup varnothing varphi varpi
varprojlim varpropto varrho varsigma varsubsetneq varsubsetneqq varsupsetneq varsupsetneqq
vartheta vartriangle vartriangleleft vartriangleright vcenter vdash vdots vec vee veebar vert
vphantom wedge widehat widetilde wp wr xLeftarrow xLeftrightarrow xRightarrow xcancel
xhookleftarrow xhookrightarrow xi xleftarrow xleftharpoondown xleftharpoonup xleftrightarrow
xleftrightharpoons xlongequal xmapsto xrightarrow xrightharpoondown xrightharpoonup
xrightleftharpoons xtofrom xtwoheadleftarrow xtwoheadrightarrow yen zeta
""".split())
"""Commands that are in both KaTeX's "Supported functions" and MathJax's "TeX/LaTeX commands".

Those are left out that take an address, a style, a class, an id, HTML, a length or a definition.
https://katex.org/docs/supported and https://docs.mathjax.org/en/v3.2/input/tex/macros
"""
_SYMBOLS = frozenset("\\ !#$%&,:;>_{|}\"'.=^~") | {""}
"""Commands of one character, from the same tables. The last six are accents in ``\\text``."""
_KNOWN = _COMMANDS | _SYMBOLS | {
    f"{edge}{{{name}}}" for edge in ("begin", "end") for name in ENVIRONMENTS}
_SYNONYMS = {r"\bm": r"\boldsymbol", r"\dag": r"\dagger", r"\emph": r"\textit", r"\mbox": r"\text"}
"""Commands that only one of the two knows, and the same for both."""

_COMMAND = re.compile(r"\\((?:begin|end)\{[A-Za-z]+\*?\}|[A-Za-z@]+|.?)", re.S)
_WITH_ARGUMENT = re.compile(r"""
    \\(?:(?:text)?color|colorbox|fcolorbox\s*\{\#?[A-Za-z0-9]+\})\s*\{\#?[A-Za-z0-9]+\}
    | \\hspace\*?\s*\{-?\d?\d?(?:\.\d+)?\s*(?:em|ex|pt|px|cm|mm|in|mu)\}""", re.X)
"""Commands that are known only with a colour's name or number, or with a length."""
_COMMENT = re.compile(r"(\d[ \t]*%)|(?:(?<=\s)|\A)%[^\n]*(?=\n)")
"""A comment. Group 1 is a number and a percent sign, which is not one."""
_TOKEN = re.compile(r"\\(?:[A-Za-z@]+|.)|(?P<special>[%{}$`])", re.S)


def format_formula(body: str, *, is_display: bool, in_table: bool) -> str:
    """Return a formula with delimiters, in one line.

    Returns "" if a front end cannot set it, or if it has a command that is not in our list.
    """
    if is_display:
        body = _COMMENT.sub(r"\1", body)
    body = re.sub(r"\\label\{[^{}]*\}", "", body)
    # \tag gives the formula an id, and only a display may have one.
    body = re.sub(r"\\tag\s*\{([^{}]*)\}", r"\\qquad \\text{(\1)}", body)
    body = " ".join(body.split())
    if in_table:  # a | ends the cell even inside a formula
        body = re.sub(r"(\\begin\{array\}\{)([^{}]*)", lambda m: m[1] + m[2].replace("|", ""), body)
        body = re.sub(r"\\?\|", r"\\vert ", body).strip()
    body = re.sub(r"!(?=\[)|\](?=[(:])", r"\g<0> ", body)  # no picture, link or link definition
    body = re.sub(r"@(?=@)", "@{}", body)  # JupyterLab puts other formulas in place of @@0@@
    body = re.sub(r"<(?=[A-Za-z/!?])", r"\\lt ", body)
    body = _TOKEN.sub(_for_all, body)
    special = [match["special"] for match in _TOKEN.finditer(body)]
    depths = [0, *accumulate({"{": 1, "}": -1}.get(character, 0) for character in special)]
    is_balanced = min(depths) == 0 and depths[-1] == 0
    if not body or not is_balanced or "$" in special or "`" in special:
        return ""
    if not _KNOWN.issuperset(_COMMAND.findall(_WITH_ARGUMENT.sub("{}", body))):
        return ""
    end = " {}" if body[-1] == "\\" else ""  # a backslash would escape the delimiter
    delimiter = "$$" if is_display else "$"
    return delimiter + body + end + delimiter


def _for_all(match: re.Match[str]) -> str:
    """Return a command or a sign as all front ends read it."""
    if match[0] == "%":  # would begin a comment
        return r"\%"
    if match[0] == r"\\" and match.string[match.end():match.end() + 1] in ("{", "}"):
        return r"\\ "  # JupyterLab would see an escaped brace
    return _SYNONYMS.get(match[0], match[0])
