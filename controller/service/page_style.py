"""The style of the page, light and dark, from 400 px to 1,600 px."""

from __future__ import annotations

from typing import Final

CSS: Final = """
:root{color-scheme:light dark;
--bg:#fff;
--fg:#1b1f24;
--dim:#57606a;
--line:#d0d7de;
--cost:#1a7f37;
--capacity:#9a6700;
--bad:#b42318;
--mark:#0550ae}
@media(prefers-color-scheme:dark){:root{--bg:#0d1117;
--fg:#e6edf3;
--dim:#9da7b3;
--line:#30363d;
--cost:#3fb950;
--capacity:#d29922;
--bad:#ff7b72;
--mark:#79c0ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1200px;padding:1rem;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0}
h2{font-size:1.1rem;margin:1.6rem 0 .4rem}
.banner{border-left:.5rem solid var(--line);padding:.5rem 1rem;margin:1rem 0}
.banner.cost{border-color:var(--cost)}
.banner.capacity{border-color:var(--capacity)}
.dim{color:var(--dim)}
.bad{color:var(--bad)}
.warn,.unknown{color:var(--capacity)}
.good{color:var(--cost)}
.scroll{overflow-x:auto;
background:linear-gradient(to left,var(--bg) 30%,transparent) right/3rem 100% no-repeat local,
linear-gradient(to left,var(--line),transparent) right/1rem 100% no-repeat scroll}
table{border-collapse:collapse;width:100%;min-width:46rem}
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
meter{width:6rem}
svg{width:100%;height:54px;display:block}
.hours{display:flex;justify-content:space-between;color:var(--dim);font-size:.8rem}
td:first-child{white-space:nowrap}
.band-cost{fill:var(--cost)}
.band-capacity{fill:var(--capacity)}
.band-unknown{fill:var(--line)}
.mark{stroke:var(--mark);stroke-width:2}
a{color:var(--mark)}
ul{margin:.3rem 0;padding-left:1.2rem}
.keep{white-space:nowrap}
@media(max-width:640px){body{padding:.75rem;font-size:15px}
meter{display:none}
th,td{padding-right:.6rem}
td:first-child{white-space:normal;min-width:5.5rem;overflow-wrap:anywhere}}
"""
