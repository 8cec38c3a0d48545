// The bump chart: a column of ranks for each ranker, a line for each passage.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { CHARTED, READ_BY_MODEL, counted, ordinal } from "./ranking.js";
import { Head } from "./shell.js";

const LABELLED = 560; // the least width with room for the passages' first words
const letter = (sign) => (sign < "\u0300" ? 8 : sign < "\u1100" ? 9 : 12); // the width of one: Latin, of other alphabets, East Asian
const TOP = 34; // of the first rank, below the columns' names
const LABEL_HEIGHT = 16;
const LEFT = 40;

/** `active`: the index of the passage that is pointed at; `choose` sets it, `open` goes to it. */
export function Chart({ results, columns, active, choose, open }) {
	const [asTable, setAsTable] = useState(false);
	const [width, setWidth] = useState(LABELLED);
	const drawing = useRef(null);
	useEffect(() => {
		const watcher = new ResizeObserver(([{ contentRect }]) => setWidth(Math.round(contentRect.width)));
		watcher.observe(drawing.current);
		return () => watcher.disconnect();
	}, []);
	const shown = results.slice(0, CHARTED);
	const lines = useMemo(() => place(shown, columns, width, results.length), [results, columns, width]);
	const step = (event) => {
		const at = shown.findIndex((row) => row.index === active);
		const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: shown.length - 1 }[event.key];
		if (to !== undefined) {
			choose(shown[Math.max(0, Math.min(to, shown.length - 1))].index);
			event.preventDefault();
		} else if (event.key === "Enter" && at >= 0) {
			open(active);
		}
	};
	const said = shown.find((row) => row.index === active);
	return html`<figure class=chart aria-label="Bump chart">
		<div class=plot tabindex=0 role=application aria-roledescription="bump chart" aria-label=${about(columns, shown)}
			onKeyDown=${step} onMouseLeave=${() => choose(null)} onBlur=${() => choose(null)}>
			<svg viewBox="0 0 ${width} ${lines.height}" aria-hidden=true ref=${drawing}>
				${columns.map((column, at) => html`<text class="column ${at === columns.length - 1 ? "final" : ""}" x=${lines.x(at)} y=14 text-anchor=middle>${column.name}</text>`)}
				${lines.ranks.map(({ rank, y }) => html`<text class=rank x=${LEFT - 16} y=${y + 4} text-anchor=end>${rank}</text>`)}
				${lines.all.map((line) => html`<${Line} key=${line.index} line=${line} lines=${lines} active=${active} choose=${choose} open=${open} />`)}
			</svg>
		</div>
		<figcaption>
			<span><span class=dot></span> the ${Math.min(READ_BY_MODEL, results.length)} that a language model would get</span>
			${results.length > CHARTED && html`<span>${results.length - CHARTED} more below these ${CHARTED}</span>`}
			<button class=plain aria-expanded=${asTable} onClick=${() => setAsTable(!asTable)}>${asTable ? "Hide the table" : "As a table"}</button>
		</figcaption>
		<p class=unseen role=status>${said ? spoken(said, columns) : ""}</p>
		<div class=${asTable ? "" : "unseen"}><${Table} shown=${shown} columns=${columns} /></div>
	</figure>`;
}

function Line({ line, lines, active, choose, open }) {
	const state = active === line.index ? "strong" : active === null ? "" : "pale";
	return html`<g class="line ${state} ${line.best ? "best" : ""}" onMouseEnter=${() => choose(line.index)} onClick=${() => open(line.index)}>
		<path class=hit d=${line.path} />
		<path d=${line.path} />
		${line.points.map(({ x, y, off }) => html`<circle cx=${x} cy=${y} r=${line.best ? 5 : 3.5} class=${off ? "off" : ""} />`)}
		${line.label && (line.isLabelled || state === "strong") && html`<path class=lead d="M${lines.end + 6} ${line.points.at(-1).y}L${lines.end + 18} ${line.labelY}" /><text x=${lines.end + 22} y=${line.labelY + 4}>${line.label}</text>`}
	</g>`;
}

function Table({ shown, columns }) {
	return html`<table>
		<caption>Rank of each passage by each method</caption>
		<${Head} names=${["Passage", ...columns.map((column) => column.name)]} />
		<tbody>${shown.map((row) => html`<tr key=${row.index}>
			<th scope=row dir=auto>${row.label}</th>${columns.map((column) => html`<td>${column.ranks.get(row.index) ?? "–"}</td>`)}
		</tr>`)}</tbody>
	</table>`;
}

/** A path and points for each passage. A rank beyond the last drawn one ends below the plot. */
function place(shown, columns, width, total) {
	const count = shown.length;
	const row = count <= 12 ? 22 : count <= 25 ? 16 : 9.5;
	const labels = width < LABELLED ? 0 : 0.4 * width;
	const right = labels || LEFT;
	const last = columns.length - 1;
	const x = (at) => LEFT + (last ? (at * (width - LEFT - right)) / last : 0);
	const y = (rank) => TOP + (rank > count ? (count - 1) * row + Math.max(row, LABEL_HEIGHT) : (rank - 1) * row);
	const all = shown.map((passage, at) => {
		const points = columns.map((column, column_) => {
			const rank = column.ranks.get(passage.index) ?? count + 1;
			return { x: x(column_), y: y(rank), off: rank > count };
		});
		const isLabelled = row >= LABEL_HEIGHT || at < READ_BY_MODEL;
		const label = labels ? short(passage.label, labels - 34) : null;
		const labelY = Math.max(points.at(-1).y, TOP + (isLabelled ? at : READ_BY_MODEL) * LABEL_HEIGHT); // none over another
		return { index: passage.index, points, path: curve(points), best: at < READ_BY_MODEL, label, isLabelled, labelY };
	});
	const beyond = all.some((line) => line.points.some((point) => point.off));
	const ranks = shown.map((_, at) => at + 1).filter((rank) => row >= LABEL_HEIGHT || rank === 1 || rank % 5 === 0);
	return {
		all: all.reverse(), // the best are drawn last
		ranks: [...ranks.map((rank) => ({ rank, y: y(rank) })), ...(beyond ? [{ rank: total > count ? `>${count}` : "–", y: y(count + 1) }] : [])],
		height: y(count + (beyond ? 1 : 0)) + 14,
		x,
		end: x(last),
	};
}

function curve(points) {
	return points.map(({ x, y }, at) => {
		if (!at) return `M${x} ${y}`;
		const before = points[at - 1];
		const middle = (before.x + x) / 2;
		return `C${middle} ${before.y} ${middle} ${y} ${x} ${y}`;
	}).join("");
}

/** As much of a label as there is room for. It is isolated: its direction is its own. */
function short(label, room) {
	const signs = [...label];
	const end = signs.findIndex((sign) => (room -= letter(sign)) < 0);
	return `\u2068${end < 0 ? label : `${signs.slice(0, end).join("").trimEnd()}…`}\u2069`;
}

const about = (columns, shown) =>
	`Ranks of ${counted(shown.length)} by ${columns.map((column) => column.name).join(", ")}. Arrow keys go from passage to passage, Enter opens one. A table follows.`;

const spoken = (row, columns) =>
	`${row.label}: ${columns.map((column) => (column.ranks.has(row.index) ? `${ordinal(column.ranks.get(row.index))} by ${column.name}` : `not ranked by ${column.name}`)).join(", ")}.`;
