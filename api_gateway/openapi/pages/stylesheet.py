"""The style sheet of the pages: light and dark, for narrow screens as well."""

STYLESHEET = """\
:root {
  color-scheme: light dark;
  --text: #1c2024; --muted: #545b63; --page: #fff; --panel: #f3f5f7; --line: #c5cbd2;
  --link: #0b57a4; --get: #0b5f3c; --post: #0b4f96; --put: #7a4100; --delete: #a01622;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e7eaee; --muted: #aab3bd; --page: #14171a; --panel: #1f2429; --line: #48515b;
    --link: #82b7ff; --get: #6fd3a0; --post: #86baff; --put: #f0b36b; --delete: #ff929a;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body {
  margin: 0; color: var(--text); background: var(--page);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word;
}
a { color: var(--link); }
a:focus-visible, summary:focus-visible, [tabindex]:focus-visible {
  outline: 3px solid var(--link); outline-offset: 2px;
}
main:focus { outline: none; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 0; padding: .5rem 1rem; background: var(--page); }
header { padding: .75rem 1rem; border-bottom: 1px solid var(--line); }
header nav a { display: inline-block; margin-right: 1.25rem; padding: .25rem 0; }
.columns { max-width: 84rem; margin: 0 auto; }
.contents { padding: 1rem; max-height: 45vh; overflow-y: auto; background: var(--panel); }
.contents p { margin: 1rem 0 .25rem; font-weight: 700; }
.contents ul { margin: 0; padding: 0; list-style: none; }
.contents li a { display: block; padding: .2rem 0; }
main { padding: 1rem; min-width: 0; }
h1, h2, h3, h4 { line-height: 1.25; }
h2 { margin-top: 2.5rem; }
h3 { margin-top: 2rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h4 { margin-bottom: .5rem; }
:is(h2, h3) > a { color: inherit; text-decoration: none; }
:is(h2, h3) > a:hover { text-decoration: underline; }
:target { scroll-margin-top: .5rem; }
tr:target, h3:target { background: var(--panel); }
code, pre { font: .9em/1.45 ui-monospace, monospace; }
code { overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: .75rem; background: var(--panel); border: 1px solid var(--line); }
pre code { overflow-wrap: normal; font-size: 1em; }
.wide { overflow-x: auto; margin: .5rem 0; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .4rem .6rem; text-align: left; vertical-align: top; }
th, td { border-bottom: 1px solid var(--line); }
td:last-child { min-width: 12rem; }
td p, td ul { margin: 0; padding-left: 0; list-style-position: inside; }
td code { overflow-wrap: normal; }
.muted { color: var(--muted); }
.route { overflow-wrap: anywhere; }
.method { font-weight: 700; }
.get { color: var(--get); }
.post, .patch { color: var(--post); }
.put { color: var(--put); }
.delete { color: var(--delete); }
summary { cursor: pointer; padding: .25rem 0; }
@media (min-width: 62rem) {
  .columns { display: grid; grid-template-columns: 20rem minmax(0, 1fr); }
  .columns > main:only-child { grid-column: 1 / -1; }
  .contents { position: sticky; top: 0; max-height: 100vh; }
}
@media (max-width: 40rem) {
  thead { position: absolute; left: -100rem; }
  tr, td { display: block; }
  tr { padding: .5rem 0; border-bottom: 1px solid var(--line); }
  td { padding: .1rem 0; border: 0; }
  td:empty { display: none; }
}
@media print { .contents, .skip, header { display: none; } }
"""
