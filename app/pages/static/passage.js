// One passage of a ranking, and the question.

import { Component, html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { LEVELS, level, reasons, slicer } from "./ranking.js";
import { Head } from "./shell.js";

const FOLDED = 600; // code points of a long passage that are shown at first

/** A component that is drawn again only when a property changed. */
const pure = (draw) => class extends Component {
	shouldComponentUpdate(next) {
		return Object.keys(next).some((name) => next[name] !== this.props[name]);
	}

	render(properties) {
		return html`<${draw} ...${properties} />`;
	}
};

/** A passage's row. `matches`: its tokens, once they are known; `seen` is called when the row is about to be seen. */
export const Passage = pure(({ row, rank, results, threshold, matches, active, choose, seen, moved }) => {
	const element = useRef(null);
	const [why, setWhy] = useState(false);
	useEffect(() => {
		const watcher = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && seen(row), { rootMargin: "200px" });
		watcher.observe(element.current);
		return () => watcher.disconnect();
	}, [row, seen]);
	const score = row.relevance_score;
	const below = threshold > 0 && score < threshold;
	const [arrow, where] = moved > 0 ? ["▲", "places above cosine"] : ["▼", "places below cosine"];
	return html`<li ref=${element} class="passage ${below ? "below" : ""} ${active ? "active" : ""}" id="passage-${row.index}" tabindex=-1 data-index=${row.index}
		onMouseEnter=${() => choose(row.index)} onMouseLeave=${() => choose(null)}>
		<div class=rank><span class=unseen>Rank </span>${rank}${moved !== 0 && html`<small title=${where}>${arrow} ${Math.abs(moved)}<span class=unseen> ${where}</span></small>`}</div>
		<div class=score>
			<div class=bar style=${{ "--score": score, "--threshold": threshold }}><i></i>${threshold > 0 && html`<b></b>`}</div>
			<span class=number>${score.toFixed(3)}</span>${below && html`<small>below the threshold</small>`}
		</div>
		<div class=words>
			<${Text} row=${row} matches=${matches} />
			<p class=notes>
				${row.tokens && row.tokens.read < row.tokens.of && html`<span>${row.tokens.read ? `${row.tokens.read} of ${row.tokens.of} tokens read` : "not read: scored by its words alone"}</span>`}
				${row.scores && html`<button class=plain aria-label="Why here? Rank ${rank}" aria-expanded=${why} onClick=${() => setWhy(!why)}>Why here?</button>`}
			</p>
			${why && html`<${Why} row=${row} results=${results} />`}
		</div>
	</li>`;
});

function Why({ row, results }) {
	const { lines, sentence } = reasons(row, results);
	const { coverage, log_odds } = row.evidence ?? {};
	return html`<div class=why>
		<p>${sentence} ${typeof coverage === "number" && `It holds ${Math.round(100 * coverage)} % of the question’s words, rare ones counting more.`}</p>
		<table>
			<${Head} names=${["Ranker", "Score", "Rank"]} />
			<tbody>${lines.map((line) => html`<tr><th scope=row>${line.name}</th><td>${line.score.toFixed(3)}</td><td>${line.rank}</td></tr>`)}</tbody>
		</table>
		${typeof log_odds === "number" && html`<p>Alone, without the others of this list, it would score ${(1 / (1 + Math.exp(-log_odds))).toFixed(3)}.</p>`}
	</div>`;
}

const Text = pure(({ row, matches }) => {
	const [whole, setWhole] = useState(false);
	const { title, ranked } = row.shown;
	const slice = slicer(ranked);
	const length = Array.from(ranked).length;
	const begin = title ? Array.from(title.trimStart()).length + 1 : 0; // of the text in what was ranked
	const end = whole || length - begin <= FOLDED * 1.3 ? length : begin + FOLDED;
	const unread = unreadFrom(row, matches, length);
	return html`
		${title && html`<h3 dir=auto>${pieces(slice, 0, Math.max(0, begin - 1), matches, unread)}</h3>`}
		<p class=text dir=auto>${pieces(slice, begin, end, matches, unread)}${end < length && "…"}</p>
		${(end < length || whole) && html`<button class=plain aria-expanded=${whole} onClick=${() => setWhole(!whole)}>${whole ? "Fold" : `Show all ${length.toLocaleString("en")} characters`}</button>`}`;
});

/** The code point after the last that was read; all of it, unless the response says otherwise. */
function unreadFrom(row, matches, length) {
	if (!row.tokens || row.tokens.read >= row.tokens.of) return length;
	if (!row.tokens.read) return 0;
	return matches?.tokens[row.tokens.read - 1]?.end ?? length;
}

/** The code points [start, end) as nodes: matched tokens are marked, what was not read is hatched. */
function pieces(slice, start, end, matches, unread) {
	const nodes = [];
	let at = start;
	for (const token of matches?.tokens ?? []) {
		const strength = level(token.fidelity);
		if (!strength || token.start < at || token.end > Math.min(end, unread)) continue;
		nodes.push(slice(at, token.start));
		nodes.push(html`<mark class="t${strength}" data-query=${token.match}>${slice(token.start, token.end)}</mark>`);
		at = token.end;
	}
	if (unread < end) {
		if (at < unread) nodes.push(slice(at, unread));
		nodes.push(html`<span class=unread title="not read">${slice(Math.max(at, unread), end)}</span>`);
	} else {
		nodes.push(slice(at, end));
	}
	return nodes;
}

const WORD = /^[\p{L}\p{N}]+$/u;
const SIGNS = /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Thai}/u; // written without spaces

/** The words of a question: its tokens [{start, end, tokens}], pieces of one word together. */
function wordsOf(tokens, slice) {
	const words = [];
	tokens.forEach(({ start, end }, number) => {
		const last = words.at(-1);
		const joined = last && slice(last.start, end);
		if (last && start === last.end && WORD.test(joined) && !SIGNS.test(joined)) {
			last.end = end;
			last.tokens.push(number);
		} else if (!last || start >= last.end) {
			words.push({ start, end, tokens: [number] });
		}
	});
	return words;
}

/** The question, its words as buttons: pointing at one shows the tokens that it met. */
export function Question({ query, tokens, point, pinned }) {
	if (!tokens?.length) return null;
	const slice = slicer(query);
	const words = wordsOf(tokens, slice);
	const leave = () => point(null);
	const nodes = words.flatMap(({ start, end, tokens: numbers }, at) => {
		const enter = () => point(numbers);
		return [slice(words[at - 1]?.end ?? 0, start), html`<button class=token data-tokens=${numbers.join(" ")} aria-pressed=${pinned?.[0] === numbers[0]}
			onMouseEnter=${enter} onMouseLeave=${leave} onFocus=${enter} onBlur=${leave} onClick=${() => point(numbers, true)}>${slice(start, end)}</button>`];
	});
	return html`<p class=question dir=auto><span class=hint dir=ltr>Point at a word to see which tokens it met. Fidelity from ${LEVELS.map((least, at) => html`<mark class="t${at + 1}">${least}</mark> `)}</span> ${nodes}${slice(words.at(-1).end)}</p>`;
}
