"""Formulas as models write them, one a line: each command that they use, at least once."""

FORMULAS = r"""
\angle ABC = 90^\circ
\triangle ABC \cong \triangle DEF
AB \parallel CD
AB \perp CD
\overline{AB} = \overline{CD}
\overrightarrow{AB} = \overrightarrow{OB} - \overrightarrow{OA}
\overset{\frown}{AB} = 60^\circ
\widehat{AB}
\tan\theta = \frac{\sin\theta}{\cos\theta}
\boxed{12 \text{ cm}^2}
\boxed{\mathbf{B}}
\left\{ x \in \mathbb{R} \mid x^2 < 4 \right\}
f(x) = \begin{cases} x^2 & \text{if } x \ge 0 \\ -x & \text{otherwise} \end{cases}
\left\{ \begin{array}{l} x + y = 5 \\ 2x - y = 1 \end{array} \right.
\begin{aligned} a &= b + c \\ &= d \end{aligned}
\begin{align*} f(x) &= x^2 + 2x + 1 \\ &= (x+1)^2 \end{align*}
\begin{align} E &= mc^2 \\ p &= mv \end{align}
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}
\begin{bmatrix} a & b \\ c & d \end{bmatrix}
\begin{vmatrix} a & b \\ c & d \end{vmatrix} = ad - bc
\left[\begin{array}{cc|c} 1 & 0 & 2 \\ 0 & 1 & 3 \end{array}\right]
\begin{array}{|c|c|} \hline x & y \\ \hline 1 & 2 \\ \hline \end{array}
\begin{gathered} a = b \\ c = d \end{gathered}
\begin{split} a &= b \\ &= c \end{split}
\prod_{i=1}^{n} a_i
\lim\limits_{x\to 0^+} \ln x = -\infty
\int_0^1 x^2 \, dx = \frac{1}{3}
\iint_D f(x,y) \, dA
\oint_C \mathbf{F} \cdot d\mathbf{r}
\nabla \cdot \mathbf{E} = \frac{\rho}{\varepsilon_0}
g = 9.8\ \mathrm{m/s^2}
E = h\nu = \frac{hc}{\lambda}
\Delta x \, \Delta p \geq \frac{\hbar}{2}
i\hbar \frac{\partial}{\partial t} \Psi = \hat{H} \Psi
\langle \psi | \phi \rangle
\eta = \frac{W}{Q} \times 100\%
\omega = 2\pi f
2\text{H}_2 + \text{O}_2 \rightarrow 2\text{H}_2\text{O}
A \rightleftharpoons B
P(A|B) = \frac{P(A \cap B)}{P(B)}
\binom{5}{2} = 10
{5 \choose 2} = 10
X \sim \mathcal{N}(0, 1)
\hat{\theta} = \arg\max_\theta \log p(x \mid \theta)
\operatorname*{argmin}_x f(x)
\|x\|_2 = \sqrt{\sum_i x_i^2}
\lVert x \rVert
\lfloor x \rfloor
\left\lceil \frac{n}{2} \right\rceil
a \equiv b \pmod{n}
a \bmod n
\gcd(12, 18) = 6
\lg 100 = 2
x \ne 0
x \neq y
x \leq 5
x \geqslant 1
a \le b < c
\therefore x = 2
\because AB = AC
\forall \epsilon > 0, \exists \delta > 0
A \subseteq B
A \setminus B = \varnothing
A \cup B = \emptyset
x \notin S
\neg p \land q \lor r
p \Rightarrow q
p \implies q
p \iff q
p \Leftrightarrow q
\Longrightarrow x = 3
x \mapsto x^2
\Re(z), \Im(z)
\boldsymbol{\beta} = (X^T X)^{-1} X^T y
\det(A - \lambda I) = 0
A^{\top} A
\dim V = n
\underbrace{a + a + \cdots + a}_{n}
\overbrace{1 + 2 + 3}^{6}
\underline{x}
\cancel{x}
\color{red}{x}
\textcolor{blue}{x + 1}
\dfrac{1}{2} + \tfrac{1}{3}
\cfrac{1}{1 + \cfrac{1}{2}}
\Theta(n), \Omega(n)
\displaystyle \sum_{n=1}^\infty \frac{1}{n^2} = \frac{\pi^2}{6}
\bigcup_{i} A_i
\bigg( \frac{a}{b} \bigg)
\big[ x \big]
\stackrel{\text{def}}{=}
\underset{x}{\max}
a \gg b \ll c
\pm 2 \mp 3
x \approx 3.14
y \propto x
\$1200 \times 0.05 = \$60
3 \div 4 = 0.75
5 \star 3
\text{第一步：} x = 3
x = \text{\_\_\_}
\blacksquare
\square + 3 = 5
\checkmark
\hspace{1cm} x = 1
x \quad y \qquad z \; w \: v \, u \! t
\mbox{if } x > 0
\alpha + \beta + \gamma + \delta + \epsilon + \zeta
\phi, \varphi, \theta, \vartheta, \rho, \sigma, \tau, \mu
\Gamma(n) = (n-1)!
E = mc^2 \tag{1}
\xrightarrow{\text{H}_2\text{SO}_4}
\longrightarrow, \leftarrow, \leftrightarrow, \uparrow, \downarrow
\ce{H2O}
\mathfrak{g}, \mathscr{L}, \mathsf{T}, \mathtt{x}
\dot{x}, \ddot{x}, \tilde{x}, \bar{x}, \hat{x}, \vec{x}
\sec x, \csc x, \cot x, \arcsin x, \arccos x, \arctan x
\sinh x, \cosh x, \tanh x
\min\{a, b\}, \max(a, b), \sup S, \inf S
\prime, \ell, \infty, \partial, \nabla, \aleph
\oplus, \otimes, \ominus, \odot, \cdot, \ast, \bullet
\substack{i < j \\ j < k}
\phantom{x} = 1
\mathop{\mathrm{tr}}(A)
\Bigl( x \Bigr)
\vdots, \ddots, \cdots, \ldots, \dots
\bm{v} = \bm{u} + \bm{a}t
""".strip().split("\n")
