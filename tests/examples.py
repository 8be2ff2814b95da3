"""Answers in Markdown, for the tests of the notebook.

Each has the formulas that a notebook has to set, and the text that is seen beside them.
"""

HALF = r"\frac{1}{2}"
QUOTES = [
    (f"> \\[\n> x = {HALF}\n> \\]\n> so", [f"x = {HALF}"], "so"),
    ("> $$\n> a\n>\n> + b\n> $$", ["a + b"], ""),
    ("> So \\[\n> a\n> = b\n> \\] it is", ["a = b"], "So it is"),
    ("> \\begin{align}\n> a &= b \\\\\n> - c &= d\n> \\end{align}",
     [r"\begin{align} a &= b \\ - c &= d \end{align}"], ""),
    ("> [!NOTE]\n> The area is \\(12\\).\n> $$A = 12$$", ["12", "A = 12"], "[!NOTE] The area is ."),
    ("> - one \\[\n>   a\n>   + b\n>   \\]\n>   and\n> - two", ["a + b"], "one and two"),
    ("> It costs $5\nand \\(x\nis lazy\\)", [r"x is lazy"], "It costs $5 and"),
    ("> ```python\n> a = b\n>\n> c\n> ```\n\n$x$", ["x"], "a = b c"),
    ("> | a | b |\n> |---|---|\n> | $|x|$ | $5 |", [r"\vert x\vert"], "a b $5"),
]
LISTS = [
    ("1. The area is\n   \\[\n   a\n   - b\n   \\]\n2. two", ["a - b"], "The area is two"),
    ("1. The area is\n\\[\na\n+ b\n\\]\nso", ["a + b"], "The area is so"),
    ("- one\n\n  $$\n  x\n  $$\n- two", ["x"], "one two"),
    ("- ```\n  a < b\n  ```\n- $x$", ["x"], "a < b"),
]
MONEY = [
    ("A ticket costs $5 ($t = 5$).", ["t = 5"], "A ticket costs $5 ()."),
    ("(about $1,200) and ($x$)", ["x"], "(about $1,200) and ()"),
    ("$20-$x$ is left", ["x"], "$20- is left"),
    ("$20-$α$ is left, $5 за кг или 3$", ["α"], "$20- is left, $5 за кг или 3$"),
    ("cost=$5,price=$p$", ["p"], "cost=$5,price="),
    ("价格是$5，重量是$x$公斤。", ["x"], "价格是$5，重量是公斤。"),
    ("US$5 (x=$y$), A$7/$z$, HK$9.", ["y", "z"], "US$5 (x=), A$7/, HK$9."),
    ("€5 or 5 € for $x$, £3-$y$", ["x", "y"], "€5 or 5 € for , £3-"),
    ("5$-10$, 5$ to 6$", [], "5$-10$, 5$ to 6$"),
    ("$5-$10, $5–$10, -$3, $5/$x$", ["x"], "$5-$10, $5–$10, -$3, $5/"),
    ("$5K to $10K, $1.5M-$2M", [], "$5K to $10K, $1.5M-$2M"),
    ("**$4** and *$5*, $6.", [], "$4 and $5, $6."),
    ("cheap $, fair $$, dear $$$, $$ - $$$", [], "cheap $, fair $$, dear $$$, $$ - $$$"),
    ("$5$, $1,200$, $12 \\text{ cm}$, $2 \\times 3 = 6$, $5x$",
     ["5", "1,200", r"12 \text{ cm}", r"2 \times 3 = 6", "5x"], ", , , ,"),
    ("$5 + 3 =$ 8, $S=$ 9", ["5 + 3 =", "S="], "8, 9"),
    ("the $n$th, 90$^\\circ$C, $x$_", ["n", r"^\circ", "x"], "the th, 90C, _"),
]
NAMES = [
    ("Set $HOME/$USER", [], "Set $HOME/$USER"),
    ("$PATH:$HOME and $USER$HOME", [], "$PATH:$HOME and $USER$HOME"),
    ("${x}/${y}, ${a}${b} and $z$", ["z"], "${x}/${y}, ${a}${b} and"),
    ("\"$x\",\"$y\" and '$x','$y'", [], "\"$x\",\"$y\" and '$x','$y'"),
    ("$a->$b, $c.$d, $_GET[$x], $(ls)/$(pwd)", [], "$a->$b, $c.$d, $_GET[$x], $(ls)/$(pwd)"),
    ("s/a$/b/; s/c$/d/ and a$|^b$", [], "s/a$/b/; s/c$/d/ and a$|^b$"),
]
TABLES = [
    ("| a | b |\n|---|---|\n| \\(P(A|B)\\) | 0.5 |", [r"P(A\vert B)"], "a b 0.5"),
    ("| a | b |\n|---|---|\n| $P(A\\|B)$ | $$|x|$$ |", [r"P(A\vert B)", r"\vert x\vert"], "a b"),
    ("a | b\n--|--\n`x|y` | $5\n$5 | 3$", [], "a b x|y $5 $5 3$"),
    ("|a|b|\n|-|-|\n|$5|$x$|\n|`a\\|b`|\\(\\left|x\\right|\\)|",
     ["x", r"\left\vert x\right\vert"], "a b $5 a|b"),
    ("| a |\n|---|\n| $\\begin{array}{c|c} 1 & 2 \\end{array}$ |",
     [r"\begin{array}{cc} 1 & 2 \end{array}"], "a"),
]
CODE = [
    ("Sum:\n\n    total: $5.00\n    <b> \\(x\\)\n\n$x$", ["x"], r"Sum: total: $5.00 <b> \(x\)"),
    ("Output:\n\n    a = 1\n      b = 2\n", [], "Output: a = 1 b = 2"),
    ("1. one\n\n       x = $5\n\n2. $y$", ["y"], "one x = $5"),
    ("-     x = $5\n- $y$", ["y"], "x = $5"),
    ("text\n    $x$ is no code", ["x"], "text is no code"),
    ("# A $x$\n    echo $HOME $USER\n", ["x"], "A echo $HOME $USER"),
    ("- ```sh\n  echo $HOME\n  ```\n- $y$", ["y"], "echo $HOME"),
    ("Use `$x$`, `a|b` and $y$", ["y"], "Use $x$, a|b and"),
    ("$$ and\n```\n$$\n```", [], "$$ and $$"),
]
DISPLAYS = [
    ("\\[ x \\] is it,\nand more", ["x"], "is it, and more"),
    ("$$x$$.\n\nmore", ["x"], ". more"),
    ("\\[x\\]  \nmore", ["x"], "more"),
    ("so \\[\na\n=\nb\n- c\n\n> d\n\\] it is", ["a = b - c > d"], "so it is"),
]
EXAMPLES = QUOTES + LISTS + MONEY + NAMES + TABLES + CODE + DISPLAYS
