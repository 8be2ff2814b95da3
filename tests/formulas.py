"""Formulas as models write them, one a line: geometry, physics, algebra, statistics and so on."""

FORMULAS = r"""
b = 6
A = \frac{1}{2} \cdot b \cdot h
A = \frac{1}{2} \times 6 \times 4 = 12
s = \frac{a + b + c}{2}
A = \sqrt{s(s-a)(s-b)(s-c)}
a^2 + b^2 = c^2
c = \sqrt{a^2 + b^2} = \sqrt{3^2 + 4^2} = 5
\angle ABC = 90^\circ
\angle A + \angle B + \angle C = 180^{\circ}
\triangle ABC \sim \triangle DEF
\triangle ABC \cong \triangle DEF
AB \parallel CD
AB \perp CD
\overline{AB} = \overline{CD}
\overrightarrow{AB} = \overrightarrow{OB} - \overrightarrow{OA}
\overset{\frown}{AB} = 60^\circ
\widehat{AB}
\odot O
\sin 30^\circ = \frac{1}{2}
\cos^2\theta + \sin^2\theta = 1
\tan\theta = \frac{\sin\theta}{\cos\theta}
\tan^{-1}\left(\frac{3}{4}\right) \approx 36.87^\circ
\frac{a}{\sin A} = \frac{b}{\sin B} = \frac{c}{\sin C} = 2R
c^2 = a^2 + b^2 - 2ab\cos C
C = 2\pi r
A = \pi r^2 = \pi \cdot 5^2 = 25\pi \approx 78.54
V = \frac{4}{3}\pi r^3
V = \frac{1}{3} \pi r^2 h
S = 4 \pi r^2
\text{Area} = \text{base} \times \text{height}
\text{Area} = 12 \text{ cm}^2
\boxed{12}
\boxed{12 \text{ cm}^2}
\boxed{\frac{6}{\sqrt{3}}}
\boxed{\text{(B)}}
\boxed{x = 2 \text{ or } x = -3}
\boxed{A}
\boxed{75\%}
\boxed{\mathbf{B}}
\boxed{\dfrac{3}{4}}
x = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}
\Delta = b^2 - 4ac > 0
x_1 + x_2 = -\frac{b}{a}, \quad x_1 x_2 = \frac{c}{a}
(a + b)^2 = a^2 + 2ab + b^2
x^2 - 5x + 6 = (x - 2)(x - 3) = 0
x \in (-\infty, 2) \cup (3, +\infty)
\{x \mid x > 0\}
\left\{ x \in \mathbb{R} \mid x^2 < 4 \right\}
f(x) = \begin{cases} x^2 & \text{if } x \ge 0 \\ -x & \text{otherwise} \end{cases}
\begin{cases} x + y = 5 \\ x - y = 1 \end{cases}
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
\begin{aligned} x &= 1 \\[4pt] y &= 2 \end{aligned}
\sum_{i=1}^{n} i = \frac{n(n+1)}{2}
\sum_{k=0}^{\infty} \frac{x^k}{k!} = e^x
\prod_{i=1}^{n} a_i
\sum\limits_{i=1}^n x_i
\lim_{x \to 0} \frac{\sin x}{x} = 1
\lim_{n \to \infty} \left(1 + \frac{1}{n}\right)^n = e
\lim\limits_{x\to 0^+} \ln x = -\infty
\int_0^1 x^2 \, dx = \frac{1}{3}
\int_{-\infty}^{\infty} e^{-x^2} \, dx = \sqrt{\pi}
\iint_D f(x,y) \, dA
\oint_C \mathbf{F} \cdot d\mathbf{r}
\left. \frac{x^3}{3} \right|_0^1 = \frac{1}{3}
\frac{d}{dx}\left[x^n\right] = nx^{n-1}
\frac{dy}{dx} = \frac{dy}{du} \cdot \frac{du}{dx}
\frac{\partial f}{\partial x}
\frac{\partial^2 u}{\partial t^2} = c^2 \nabla^2 u
\frac{\mathrm{d}y}{\mathrm{d}x} + y = 0
f'(x) = 3x^2 - 6x
f''(x) > 0
y' = \ln x + 1
\nabla \cdot \mathbf{E} = \frac{\rho}{\varepsilon_0}
\nabla \times \mathbf{B} = \mu_0 \mathbf{J} + \mu_0 \varepsilon_0 \frac{\partial E}{\partial t}
F = ma
\vec{F} = m\vec{a}
F_{\text{net}} = F_1 + F_2
F_g = G\frac{m_1 m_2}{r^2}
v = v_0 + at
s = v_0 t + \frac{1}{2} a t^2
v^2 = v_0^2 + 2as
g = 9.8 \, \text{m/s}^2
g = 9.8\ \mathrm{m/s^2}
E_k = \frac{1}{2} m v^2
E = mc^2
E = h\nu = \frac{hc}{\lambda}
p = \hbar k
\Delta x \, \Delta p \geq \frac{\hbar}{2}
i\hbar \frac{\partial}{\partial t} \Psi = \hat{H} \Psi
|\psi\rangle = \alpha|0\rangle + \beta|1\rangle
\langle \psi | \phi \rangle
U = IR
P = UI = I^2 R = \frac{U^2}{R}
\frac{1}{R} = \frac{1}{R_1} + \frac{1}{R_2}
R_{\text{eq}} = R_1 + R_2 = 10\,\Omega
\frac{1}{f} = \frac{1}{u} + \frac{1}{v}
n_1 \sin\theta_1 = n_2 \sin\theta_2
PV = nRT
Q = mc\Delta T
\Delta U = Q - W
\eta = \frac{W}{Q} \times 100\%
\rho = \frac{m}{V}
T = 2\pi\sqrt{\frac{L}{g}}
\omega = 2\pi f
\lambda = 500\ \text{nm}
1.6 \times 10^{-19} \text{ C}
6.022 \times 10^{23}\ \text{mol}^{-1}
3.0 \times 10^8 \text{ m/s}
\text{H}_2\text{O}
\mathrm{CO_2}
2\text{H}_2 + \text{O}_2 \rightarrow 2\text{H}_2\text{O}
\text{CaCO}_3 \xrightarrow{\Delta} \text{CaO} + \text{CO}_2 \uparrow
\mathrm{Fe^{3+}}
\text{pH} = -\log[\text{H}^+]
A \rightleftharpoons B
\Delta H < 0
K_c = \frac{[C]^c[D]^d}{[A]^a[B]^b}
P(A \cap B) = P(A) P(B)
P(A|B) = \frac{P(A \cap B)}{P(B)}
P(A \mid B) = \frac{P(B \mid A) P(A)}{P(B)}
P(X = k) = \binom{n}{k} p^k (1-p)^{n-k}
C_n^k = \frac{n!}{k!(n-k)!}
\binom{5}{2} = 10
{5 \choose 2} = 10
\bar{x} = \frac{1}{n} \sum_{i=1}^{n} x_i
\sigma^2 = \frac{1}{N}\sum_{i=1}^N (x_i - \mu)^2
\sigma = \sqrt{\sigma^2}
X \sim N(\mu, \sigma^2)
X \sim \mathcal{N}(0, 1)
\hat{y} = \beta_0 + \beta_1 x
\hat{\theta} = \arg\max_\theta \log p(x \mid \theta)
z = \frac{x - \mu}{\sigma}
\mathbb{E}[X] = \sum_x x \, p(x)
\operatorname{Var}(X) = \mathbb{E}[X^2] - (\mathbb{E}[X])^2
\operatorname*{argmin}_x f(x)
\mathcal{L}(\theta) = -\sum_i y_i \log \hat{y}_i
\text{softmax}(x_i) = \frac{e^{x_i}}{\sum_j e^{x_j}}
\text{Attention}(Q,K,V) = \text{softmax}\left(\frac{QK^T}{\sqrt{d_k}}\right)V
\|x\|_2 = \sqrt{\sum_i x_i^2}
\lVert x \rVert
|x| = 5
\lfloor x \rfloor
\left\lceil \frac{n}{2} \right\rceil
a \equiv b \pmod{n}
a \bmod n
7 \mid 21
\gcd(12, 18) = 6
\text{lcm}(4, 6) = 12
n! = n \cdot (n-1) \cdots 2 \cdot 1
a_n = a_1 + (n-1)d
S_n = \frac{n(a_1 + a_n)}{2}
a_1, a_2, \ldots, a_n
1 + 2 + \dots + n
\log_2 8 = 3
\ln(e^x) = x
\lg 100 = 2
\sqrt[3]{27} = 3
2^{10} = 1024
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
f: \mathbb{R} \to \mathbb{R}
x \mapsto x^2
f \circ g
f^{-1}(x)
e^{i\pi} + 1 = 0
z = a + bi, \quad \overline{z} = a - bi
\Re(z), \Im(z)
\mathbf{a} \cdot \mathbf{b} = |\mathbf{a}||\mathbf{b}|\cos\theta
\mathbf{u} \times \mathbf{v}
\boldsymbol{\beta} = (X^T X)^{-1} X^T y
\det(A - \lambda I) = 0
A^{\top} A
A^\mathrm{T}
\mathrm{rank}(A) = 2
\dim V = n
\underbrace{a + a + \cdots + a}_{n}
\overbrace{1 + 2 + 3}^{6}
\underline{x}
\cancel{x}
\frac{\cancel{6}}{\cancel{3}}
\color{red}{x}
\textcolor{blue}{x + 1}
\dfrac{1}{2} + \tfrac{1}{3}
\cfrac{1}{1 + \cfrac{1}{2}}
O(n \log n)
\mathcal{O}(n^2)
\Theta(n), \Omega(n)
\displaystyle \sum_{n=1}^\infty \frac{1}{n^2} = \frac{\pi^2}{6}
\bigcup_{i} A_i
\bigg( \frac{a}{b} \bigg)
\big[ x \big]
\stackrel{\text{def}}{=}
\overset{!}{=}
\underset{x}{\max}
a \gg b \ll c
\pm 2 \mp 3
x \approx 3.14
y \propto x
\text{Speed} = \frac{\text{Distance}}{\text{Time}} = \frac{120}{2} = 60 \text{ km/h}
1{,}200 + 300 = 1{,}500
\$1200 \times 0.05 = \$60
25\% \times 80 = 20
\frac{3}{4} \times 100\% = 75\%
90^{\circ} - 35^{\circ} = 55^{\circ}
3 \div 4 = 0.75
3 : 4 = x : 20
5 \star 3
\text{第一步：} x = 3
\text{面积} = 12\,\text{平方厘米}
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
\mathbb{N}, \mathbb{Z}, \mathbb{Q}, \mathbb{R}, \mathbb{C}
\mathfrak{g}, \mathscr{L}, \mathsf{T}, \mathtt{x}
\dot{x}, \ddot{x}, \tilde{x}, \bar{x}, \hat{x}, \vec{x}
\sec x, \csc x, \cot x, \arcsin x, \arccos x, \arctan x
\sinh x, \cosh x, \tanh x
\min\{a, b\}, \max(a, b), \sup S, \inf S
\prime, \ell, \infty, \partial, \nabla, \aleph
\oplus, \otimes, \ominus, \odot, \cdot, \ast, \bullet
\substack{i < j \\ j < k}
\left( \sum_{i=1}^{n} a_i b_i \right)^2 \le \left( \sum a_i^2 \right) \left( \sum b_i^2 \right)
\phantom{x} = 1
\mathop{\mathrm{tr}}(A)
\Bigl( x \Bigr)
\vdots, \ddots, \cdots, \ldots, \dots
\bm{v} = \bm{u} + \bm{a}t
""".strip().split("\n")
