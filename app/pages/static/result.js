// The result of a ranking.

import { html, useCallback, useLayoutEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { Chart } from "./chart.js";
import { Passage, Question } from "./passage.js";
import { counted, stages, warnings } from "./ranking.js";
import { Copy, Message } from "./shell.js";
import { SNIPPETS } from "./snippets.js";
import { ROOT } from "./service.js";
import { toBody } from "./state.js";
import { Tints } from "./tints.js";

const SHOWN = 100; // rows at first
const SLIDE_MS = 200;
const STILL = matchMedia("(prefers-reduced-motion: reduce)");
const pointing = new CSSStyleSheet();
document.adoptedStyleSheets = [pointing];

/** `view`: {rows, columns, meta, query}; `busy`: what is happening, if it takes long. */
export function Result({ view, state, busy, problem, again }) {
	const [active, setActive] = useState(null);
	const [all, setAll] = useState(false);
	const [, drawn] = useState(0);
	const tints = useMemo(() => view && new Tints(view, () => drawn((count) => count + 1)), [view?.query, view?.recorded]);
	useMemo(() => tints?.retry(), [view?.meta]);
	const [pinned, setPinned] = useState(null);
	const list = useSliding(view?.rows);
	const open = useCallback((index) => {
		const row = document.getElementById(`passage-${index}`);
		row?.scrollIntoView({ block: "center", behavior: STILL.matches ? "auto" : "smooth" });
		row?.focus({ preventScroll: true });
	}, []);
	const seen = useCallback((row) => tints?.want(row), [tints]);
	useLayoutEffect(() => {
		setAll(false);
		setPinned(null);
		show(null);
	}, [view?.query]);
	const point = (tokens, pin = false) => {
		const kept = pin ? (pinned?.[0] === tokens[0] ? null : tokens) : pinned;
		if (pin) setPinned(kept);
		show(tokens ?? kept);
	};
	const over = (event) => {
		const token = event.target.closest?.("mark")?.dataset.query;
		point(token === undefined ? null : [token]);
	};
	if (!view) return html`<div class=empty><${Message} problem=${problem} again=${again} /><p role=status>${busy}</p></div>`;
	const { rows, columns, meta } = view;
	const cosine = columns.find((column) => column.name === "cosine" && columns.length > 1);
	const shown = all ? rows : rows.slice(0, SHOWN);
	return html`
		<${Message} problem=${problem} again=${again} />
		<p class=busy role=status>${busy ?? said(view, state)}</p>
		${view.recorded && html`<p class=hint>This ranking was recorded, with the default model. With a key you make your own.</p>`}
		${columns.length > 1 && html`<${Chart} results=${rows} columns=${columns} active=${active} choose=${setActive} open=${open} />`}
		${meta && html`<${Time} meta=${meta} count=${rows.length} />`}
		<${Snippets} state=${state} />
		${tints?.problem && html`<p class=hint>Matched tokens cannot be shown: ${tints.problem}</p>`}
		<${Question} query=${view.query} tokens=${tints?.query} point=${point} pinned=${pinned} />
		<ol class=passages ref=${list} onMouseOver=${over} aria-label="Passages, best first">
			${shown.map((row, at) => html`<${Passage} key=${row.key} row=${row} rank=${at + 1} results=${rows} threshold=${state.threshold} active=${active === row.index}
				matches=${tints?.of(row)} choose=${setActive} seen=${seen} moved=${cosine?.ranks.has(row.index) ? cosine.ranks.get(row.index) - at - 1 : 0} />`)}
		</ol>
		${rows.length > shown.length && html`<button onClick=${() => setAll(true)}>Show all ${rows.length} passages</button>`}
		${!rows.length && html`<p class=empty>Nothing was found.</p>`}`;
}

function said({ rows, meta, partial }, { threshold }) {
	if (partial || !meta || !rows.length) return partial ?? "";
	const best = rows[0].relevance_score;
	const answer = best >= (threshold || 0.5) ? "" : " None of them answers the question, by its score.";
	return `${counted(rows.length)} ranked. The best scores ${best.toFixed(2)}.${answer}`;
}

function Time({ meta, count }) {
	const { all, total, cached } = stages(meta);
	const read = count ? `: ${meta.encoded === count ? "all" : `${meta.encoded} of`} ${counted(count)} read` : "";
	return html`<section class="time ${cached ? "cached" : ""}" aria-label="Time by stage">
		<p>${total.toFixed(1)} ms${read}${cached ? ", their states from the cache" : ""}</p>
		<div class=stack aria-hidden=true>${all.map(({ name, ms }) => html`<i style=${{ flexGrow: ms }} title="${name}: ${ms.toFixed(1)} ms"></i>`)}</div>
		<ul>${all.map(({ name, ms }) => html`<li>${name} <b>${ms.toFixed(1)} ms</b></li>`)}</ul>
		${warnings(meta).map((warning) => html`<p class=warning>${warning}</p>`)}
		${!meta.calibrated && html`<p class=warning>The scores were not calibrated for this model: their order is right, their level is a guess.</p>`}
	</section>`;
}

function Snippets({ state }) {
	const [open, setOpen] = useState(false);
	const [kind, setKind] = useState("curl");
	const text = () => SNIPPETS[kind](ROOT.href, toBody(state, { shown: true }));
	return html`<details class=snippets onToggle=${(event) => setOpen(event.target.open)}>
		<summary>Copy as a program</summary>
		${open && html`<div class=kinds role=group aria-label=Language>${Object.keys(SNIPPETS).map((name) => html`<button aria-pressed=${name === kind} onClick=${() => setKind(name)}>${name}</button>`)}</div>
		<pre tabindex=0 aria-label="The request as a program">${text()}</pre><${Copy} text=${text} />`}
	</details>`;
}

/** Outline the tokens that met these of the question; others fade. Nothing is drawn anew. */
function show(tokens) {
	if (!tokens) return pointing.replaceSync("");
	const met = tokens.map((token) => `mark[data-query="${Number(token)}"]`).join();
	const own = tokens.map((token) => `.token[data-tokens~="${Number(token)}"]`).join();
	pointing.replaceSync(`mark[data-query]:not(${met}) { background: none; text-decoration-color: transparent } ${met}, ${own} { outline: 2px solid var(--accent) }`);
}

/** A list whose rows slide to their new places. */
function useSliding(rows) {
	const list = useRef(null);
	const before = useRef(new Map());
	useLayoutEffect(() => {
		const now = new Map();
		const start = list.current?.getBoundingClientRect().top; // what opens above the list moves no row
		for (const row of list.current?.children ?? []) {
			const { top } = row.getBoundingClientRect();
			const place = top - start;
			now.set(row.dataset.index, place);
			const moved = (before.current.get(row.dataset.index) ?? place) - place;
			const near = top < innerHeight && top > -200;
			if (moved && near && !STILL.matches) row.animate([{ transform: `translateY(${moved}px)` }, { transform: "none" }], { duration: SLIDE_MS, easing: "ease-out" });
		}
		before.current = now;
	}, [rows]);
	return list;
}
