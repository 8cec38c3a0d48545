// What a response says, in words and numbers.

export const CHARTED = 40; // passages that the chart draws
export const READ_BY_MODEL = 5; // passages that a language model would get
const NAMES = { classical: "cosine", quantum: "quantum", lexical: "words", cross_encoder: "cross-encoder" };
export const LEVELS = [0.2, 0.32, 0.45, 0.6, 0.8]; // least fidelities of the five tints

/** The rankers' columns of a bump chart and last the order itself: [{name, ranks: Map of index to rank from 1}]. */
export function columns(results, method, known) {
	const own = method.startsWith("hybrid") ? null : method;
	const score = (row, ranker) => row.scores?.[ranker] ?? known.get(row.index)?.[ranker] ?? null;
	const of = (ranker) => results.some((row) => score(row, ranker) !== null);
	let rankers = ["classical", "quantum", "cross_encoder"].filter((ranker) => ranker !== own && of(ranker));
	if (!rankers.length && of("lexical")) rankers = ["lexical"];
	return [
		...rankers.map((ranker) => ({ name: NAMES[ranker], ranks: ranksBy(results, (row) => score(row, ranker)) })),
		{ name: own ? NAMES[own] : method.replace("+cross", " + cross"), ranks: new Map(results.map((row, at) => [row.index, at + 1])) },
	];
}

/** Ranks from 1 by a score; passages without one have no rank. */
function ranksBy(results, score) {
	const scored = results.filter((row) => score(row) !== null).sort((a, b) => score(b) - score(a) || a.index - b.index);
	return new Map(scored.map((row, at) => [row.index, at + 1]));
}

/** Remember the scores of a complete ranking: another method is seen beside them. */
export function remember(known, results) {
	for (const row of results) known.set(row.index, { ...known.get(row.index), ...present(row.scores) });
}

const present = (scores) => Object.fromEntries(Object.entries(scores ?? {}).filter(([, score]) => score !== null));

/** 0 for a weak match, then 1 to 5. */
export const level = (fidelity) => LEVELS.filter((least) => fidelity >= least).length;

export const counted = (count, noun = "passage") => `${count.toLocaleString("en", { useGrouping: "min2" })} ${noun}${count === 1 ? "" : "s"}`;

export const sentence = (words) => words && words[0].toUpperCase() + words.slice(1) + (/[.!?…]$/.test(words) ? "" : ".");

const ORDINALS = ["zeroth", "first", "second", "third", "fourth", "fifth"];

export function ordinal(rank) {
	if (rank < ORDINALS.length) return ORDINALS[rank];
	const suffix = [11, 12, 13].includes(rank % 100) ? "th" : ["th", "st", "nd", "rd"][rank % 10] ?? "th";
	return `${rank}${suffix}`;
}

/** Each ranker's score and rank of one passage, and one sentence about them. */
export function reasons(row, results) {
	const rankers = Object.entries(row.scores ?? {}).filter(([, score]) => score !== null);
	const lines = rankers.map(([ranker, score]) => {
		const rank = ranksBy(results, (other) => other.scores?.[ranker] ?? null).get(row.index);
		return { name: NAMES[ranker] ?? ranker, score, rank };
	});
	const said = { cosine: "by meaning", quantum: "token by token", words: "by words", "cross-encoder": "by the cross-encoder" };
	return { lines, sentence: sentence(lines.map(({ name, rank }) => `${ordinal(rank)} ${said[name]}`).join(", ")) };
}

const STAGES = {
	queue: "queue", wait: "waiting", retrieve: "searching", prescore: "words", encode_query: "reading the question",
	encode: "reading passages", join: "gathering states", classical: "cosine", quantum: "fidelity", fuse: "fusing",
	cross_encoder: "cross-encoder", serialise: "writing the answer",
};

export const stageName = (stage) => STAGES[stage] ?? stage.replaceAll("_", " ");

/** Stages of a response with their milliseconds, and whether nothing was encoded. */
export function stages(meta) {
	const all = Object.entries(meta.timings_ms).map(([stage, ms]) => ({ name: stageName(stage), ms }));
	const total = all.reduce((sum, { ms }) => sum + ms, 0);
	return { all: all.filter(({ ms }) => ms >= 0.05), total, cached: meta.encoded > 0 && (meta.timings_ms.encode ?? 0) < 1 };
}

const DEGRADED = {
	deadline: "The deadline left passages unread: they stand below those that were read. A longer one reads more.",
	encoder: "The model’s server does not answer, so words alone scored what was not cached.",
	truncated: "The end of a passage was not looked at.",
	chunks: "Some passages are longer than what is read of them.",
	query: "The question is longer than what is read of it.",
	language: "The model does not know most of these words, so words alone decided. A multilingual model reads them.",
	cross_encoder: "The cross-encoder had no time for all of the best passages.",
	damage: "A part of the collection is damaged and is not searched until it is indexed again.",
	words: "Candidates were found by meaning alone.",
};

export const warnings = (meta) => meta.degraded.map((name) => DEGRADED[name] ?? `The ranker ${name} failed; the others answered.`);

export const same = (a, b) =>
	a.length === b.length && a.every((row, at) => row.index === b[at].index && Math.abs(row.relevance_score - b[at].relevance_score) < 1e-9);

/** A text's code points [start, end): the service counts in them, JavaScript in UTF-16 units. */
export function slicer(text) {
	if (!/[\ud800-\udfff]/.test(text)) return (start, end) => text.slice(start, end);
	const points = Array.from(text);
	return (start, end) => points.slice(start, end).join("");
}
