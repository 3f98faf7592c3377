"""The report's style sheet: colours as variables for light and dark, type, layout, tables, charts, phone, print."""

from typing import Final

SERIF: Final = 'Charter,"Bitstream Charter","Iowan Old Style",Cambria,Georgia,"Liberation Serif",serif'
SANS: Final = '-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif'
MONO: Final = 'ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace'

# Blue is the distilled student and orange the one from scratch, everywhere: most colour-blind people tell them apart.
COLOURS: Final = """
:root{color-scheme:light dark;
--paper:#faf9f6;--card:#fff;--ink:#1d2127;--soft:#59606b;--line:#e4e1d9;--grid:#ecebe6;--link:#1a5f9c;
--distilled:#1f6fb2;--scratch:#c4601a;--teacher:#343a46;--none:#858b95;
--helps:#e3eef8;--hurts:#fbeadd;--neither:#eeede9;--helps-ink:#134f84;--hurts-ink:#8c3f0a;
--m4:#c4601a;--m3:#de9259;--m2:#efc09b;--m1:#f8e3d3;--d0:#efeeea;--d1:#dceaf6;--d2:#a9cdeb;--d3:#62a2d6;--d4:#1f6fb2;
--on-edge:#fff;--on-mid:#14202b;
--s0:#dfeaf4;--s1:#c5dbee;--s2:#a6cae6;--s3:#82b4da;--s4:#5d9ccb;--s5:#3f83ba;--s6:#2769a3;--s7:#154e85;--s8:#082f5e;
--full:#6f7682;--pale:#b9bdc4}
@media (prefers-color-scheme:dark){:root{
--paper:#14161a;--card:#1b1e24;--ink:#e9e7e2;--soft:#a6acb6;--line:#2e323a;--grid:#272b32;--link:#86bff0;
--distilled:#6cb2ef;--scratch:#f0a05a;--teacher:#dde1e8;--none:#8f96a1;
--helps:#1d3550;--hurts:#47301d;--neither:#2a2e36;--helps-ink:#b5d9f8;--hurts-ink:#ffcf9f;
--m4:#ee9c55;--m3:#b06f38;--m2:#744a28;--m1:#45321f;--d0:#2a2e36;--d1:#203548;--d2:#265377;--d3:#377db9;--d4:#74b8f2;
--on-edge:#10151b;--on-mid:#f1efe9;
--s0:#1d3245;--s1:#23435f;--s2:#29567c;--s3:#316b9a;--s4:#4082b6;--s5:#5a9bcd;--s6:#7eb5e0;--s7:#a8d0f0;--s8:#d8ecfc;
--full:#9aa1ac;--pale:#5b616b}}
"""

TEXT: Final = f"""
*{{box-sizing:border-box}}
html{{-webkit-text-size-adjust:100%;scroll-behavior:smooth}}
body{{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 {SANS};font-variant-numeric:tabular-nums;
-webkit-font-smoothing:antialiased}}
h1,h2{{font-family:{SERIF};font-weight:600}}
h1{{font-size:40px;line-height:1.15;letter-spacing:-.01em;margin:0;max-width:22em;text-wrap:balance}}
h2{{font-size:26px;line-height:1.25;margin:0 0 6px}}
h3{{font-size:16px;line-height:1.35;margin:0 0 10px}}
h3.apart{{margin:36px 0 6px}}
h4{{font-size:14px;line-height:1.35;margin:0 0 6px;display:flex;gap:8px;align-items:baseline;flex-wrap:wrap}}
h4 .arm{{font-size:13px}}
p{{max-width:44em;margin:0 0 12px}}
section>p,figcaption,caption,.eyebrow,footer{{color:var(--soft)}}
a,summary{{color:var(--link);text-underline-offset:2px}}
details{{margin-top:18px}}
details p{{margin-top:10px}}
summary{{cursor:pointer;font-weight:500}}
:focus-visible{{outline:2px solid var(--link);outline-offset:3px;border-radius:3px}}
pre{{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px;margin:12px 0;
overflow:auto;font:13px/1.5 {MONO}}}
code{{font:.92em {MONO}}}
.eyebrow{{font-size:14px;letter-spacing:.02em;margin:0 0 12px}}
.lead{{font-size:22px;line-height:1.4;margin:16px 0 0;max-width:36em;text-wrap:pretty}}
.arm{{font-weight:600}}
.arm,.whole{{white-space:nowrap}}
.t-distilled{{color:var(--distilled)}}.t-scratch{{color:var(--scratch)}}.t-teacher{{color:var(--teacher)}}
"""

LAYOUT: Final = """
main,header,footer{max-width:1120px;margin:0 auto;padding:0 32px}
header{padding-top:56px}
section{padding-top:44px}
footer{padding-top:56px;padding-bottom:48px;font-size:13.5px}
nav{margin-top:28px;padding:10px 0;border-block:1px solid var(--line);font-size:14px;
display:flex;flex-wrap:wrap;gap:4px 20px}
nav a{text-decoration:none}
nav a:hover{text-decoration:underline}
.answers{list-style:none;margin:28px 0 0;padding:0;border-top:1px solid var(--line)}
.answers li{display:grid;grid-template-columns:176px 1fr;gap:4px 20px;padding:13px 0;
border-bottom:1px solid var(--line);align-items:baseline}
.chip{display:inline-block;justify-self:start;white-space:nowrap;border-radius:99px;padding:1px 11px 2px;
font-size:14px;font-weight:500;background:var(--neither)}
.chip.k-helps{background:var(--helps);color:var(--helps-ink);font-weight:600}
.chip.k-hurts{background:var(--hurts);color:var(--hurts-ink);font-weight:600}
.numbers{display:flex;flex-wrap:wrap;gap:18px 44px;margin:28px 0 0}
.numbers div{min-width:90px;max-width:17em}
.numbers dt{color:var(--soft);font-size:14px}
.numbers dd{margin:0;font-size:21px;font-weight:600;line-height:1.3}
.numbers small{display:block;font-size:13px;font-weight:400;color:var(--soft)}
.two,.many{display:grid;gap:20px;margin-top:20px;align-items:start}
.two{grid-template-columns:repeat(auto-fill,minmax(min(100%,420px),1fr))}
.many{grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr))}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px 18px 14px;
min-width:0;break-inside:avoid}
figcaption{font-size:13.5px;line-height:1.45;margin-top:8px}
.plot{border-radius:6px}
.plot svg{display:block;width:100%;height:auto;overflow:visible}
.w460{max-width:540px}.w340{max-width:400px}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 16px;margin:0 0 8px;padding:0;font-size:13.5px;
color:var(--soft)}
.legend li{display:flex;align-items:center;gap:6px}
.swatch{width:16px;height:16px;flex:none}
section>.legend{margin-top:14px}
.tip{position:fixed;z-index:9;left:0;top:0;max-width:min(320px,90vw);pointer-events:none;background:var(--ink);
color:var(--paper);border-radius:7px;padding:8px 11px;font-size:13px;line-height:1.4;box-shadow:0 4px 16px #0003}
.tip[hidden]{display:none}
.tip b,.tip span{display:block;overflow-wrap:anywhere}
"""

TABLES: Final = """
.scroll{overflow-x:auto;margin-top:20px;background:var(--card);border:1px solid var(--line);border-radius:10px}
table{border-collapse:collapse;width:100%;font-size:14.5px;line-height:1.4}
caption{text-align:left;font-size:13.5px;padding:14px 16px 6px;position:sticky;left:0;max-width:calc(100vw - 36px)}
th,td{text-align:left;padding:9px 14px;vertical-align:baseline;border-top:1px solid var(--line)}
thead th{border-top:0;color:var(--soft);font-weight:500;font-size:13px;vertical-align:bottom}
tbody th{font-weight:600}
tbody th,thead th:first-child{position:sticky;left:0;background:var(--card)}
tbody th,td{white-space:nowrap}
th:first-child{padding-left:16px}
td:last-child{white-space:normal}
.verdict tbody th{white-space:normal;min-width:11em}
.verdict td:last-child{font-size:13.5px;min-width:16em}
.shaded td{padding:3px 4px}
.shaded td:last-child{padding-right:8px}
.shaded .tile{display:block;text-align:center;border-radius:5px;padding:5px 10px}
.facts tbody th{vertical-align:top}
.facts td{white-space:normal;overflow-wrap:anywhere}
.facts dl{display:grid;grid-template-columns:auto 1fr;gap:2px 16px;margin:0}
.facts dt{color:var(--soft)}
.facts dd{margin:0}
"""

CHARTS: Final = """
svg text{fill:var(--ink);font-size:13px}
svg .tick,svg .title,svg .small{font-size:12px}
svg .tick,svg .title{fill:var(--soft)}
svg .value{font-weight:600}
svg .inside{fill:var(--card)}
svg .big{font-size:19px;font-weight:600}
.halo{paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}
.ground{fill:transparent}
.grid{stroke:var(--grid)}.axis{stroke:var(--line)}.zero{stroke:var(--ink)}
.rung{stroke:var(--none);stroke-dasharray:2 4}
.reference{stroke:var(--teacher);stroke-dasharray:5 4;stroke-width:1.5}
.c-distilled,.k-helps{--c:var(--distilled)}.c-scratch,.k-hurts{--c:var(--scratch)}
.c-teacher{--c:var(--teacher)}.k-none{--c:var(--none)}
.bar,.mark,.mean,.part-full,.part-pale{fill:var(--c)}
.mark{stroke:var(--card);stroke-width:1.2}
.part-pale{opacity:.42}.waste{fill:var(--full)}.phase{fill:var(--distilled)}
.whisker{stroke:var(--ink);stroke-width:1.6}.whisker.under{stroke:var(--card);stroke-width:4.5}
.hollow{fill:var(--card);stroke:var(--c,var(--soft));stroke-width:2}
.link{stroke:var(--c);stroke-width:2;opacity:.5}
.interval{stroke:var(--c);stroke-width:3.5;stroke-linecap:round}.interval.thin{stroke-width:2}
.pair{fill:var(--soft);opacity:.55}
.curve{fill:none;stroke:var(--c);stroke-width:1.3;opacity:.5;stroke-linejoin:round}
.curve.best{stroke-width:2.8;opacity:1}.curve.failed{stroke-dasharray:3 3}
.end{fill:var(--c);stroke:var(--card)}.dot{fill:var(--soft)}
.cross{fill:none;stroke:var(--c,var(--soft));stroke-width:1.4;stroke-linecap:round}
.trial{stroke:var(--card)}.trial.part{stroke:var(--none)}
.ring{fill:none;stroke:var(--ink);stroke-width:1.6}
.front{fill:none;stroke:var(--none);stroke-width:1.5}
.pareto{fill:none;stroke:var(--c);stroke-width:1.6;opacity:.55}
.spread{stroke:var(--c);stroke-width:2;stroke-linecap:round}
.m4{--t:var(--m4)}.m3{--t:var(--m3)}.m2{--t:var(--m2)}.m1{--t:var(--m1)}.d0{--t:var(--d0)}
.d1{--t:var(--d1)}.d2{--t:var(--d2)}.d3{--t:var(--d3)}.d4{--t:var(--d4)}
.tile{fill:var(--t);background:var(--t);color:var(--on-mid)}
.tile.m4,.tile.d4{color:var(--on-edge)}
svg text.big,svg text.small.on{fill:var(--on-mid)}
svg text.on-m4,svg text.on-d4{fill:var(--on-edge)!important}
.s0{fill:var(--s0)}.s1{fill:var(--s1)}.s2{fill:var(--s2)}.s3{fill:var(--s3)}.s4{fill:var(--s4)}
.s5{fill:var(--s5)}.s6{fill:var(--s6)}.s7{fill:var(--s7)}.s8{fill:var(--s8)}
.b-full{fill:var(--full)}.b-pale{fill:var(--pale)}
.b-scratch{fill:var(--scratch)}.b-distilled{fill:var(--distilled)}.b-teacher{fill:var(--teacher)}
.pt{cursor:default}
.pt.on .curve{stroke-width:3;opacity:1}
.pt.on :is(.trial,.mark,.mean,.hollow,.bar,.tile,.part-full,.part-pale,.phase){stroke:var(--ink);stroke-width:1.6}
"""

PHONE: Final = """
@media (max-width:720px){
main,header,footer{padding-inline:16px}
header{padding-top:32px}
h1{font-size:30px}
.lead{font-size:19px}
section{padding-top:36px}
figure{padding:14px 12px 12px}
.answers li{grid-template-columns:1fr}
.numbers{display:grid;grid-template-columns:1fr 1fr}
.stack thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.stack,.stack caption,.stack tbody,.stack tr,.stack th,.stack td{display:block}
.stack tr{border-top:1px solid var(--line);padding:12px 16px}
.stack th,.stack td,.stack th:first-child{border:0;padding:2px 0;white-space:normal}
.stack tbody th{font-size:16px;padding-bottom:4px}
.stack td{display:grid;grid-template-columns:126px 1fr;gap:0 12px}
.stack td::before{content:attr(data-label);color:var(--soft);font-size:13.5px}
.stack td>*{grid-column:2;justify-self:start}
.verdict td:last-child{min-width:0}
tbody th{white-space:normal;min-width:8.5em}
.w460 svg text{font-size:16px}
.w460 svg .tick,.w460 svg .title,.w460 svg .small{font-size:15px}
.w460 svg .big{font-size:22px}}
"""

PRINT: Final = """
@media print{
@page{margin:14mm}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
body{font-size:10.5pt;background:none}
header{padding-top:0}
main,header,footer{max-width:none;padding-inline:0}
nav,.tip{display:none}
section{padding-top:24px}
h2,h3,h4,.legend,caption{break-after:avoid}
tr,li{break-inside:avoid}
.scroll{overflow:visible;break-inside:avoid}
section>p{break-after:avoid}
td strong{white-space:nowrap}
table{font-size:8.5pt}
th,td,tbody th{padding:5px 7px;white-space:normal}
.many{grid-template-columns:repeat(3,1fr)}
.two{grid-template-columns:1fr 1fr}
pre{white-space:pre-wrap}
a{color:inherit}}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
"""

STYLE: Final = COLOURS + TEXT + LAYOUT + TABLES + CHARTS + PHONE + PRINT
