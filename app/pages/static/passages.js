// Passages that a person brings. They stay in the memory of the page.

const TEXTS = "text passage content contents document body page_content".split(" ");
const LINE = /\r\n?|\n/;

/** One passage a line; blank lines are none. */
export const ofLines = (text) => text.split(LINE).map((line) => line.trim()).filter(Boolean);

/** A file's passages. Throws an Error that says what is wrong, and where. */
export function ofFile(name, bytes) {
	const ending = name.toLowerCase().split(".").pop();
	const read = { txt: ofLines, jsonl: ofJsonLines, ndjson: ofJsonLines, csv: ofCsv }[ending];
	if (!read) throw new Error(`${name} is not a .txt, .jsonl or .csv file.`);
	const passages = read(decoded(bytes));
	if (!passages.length) throw new Error(`${name} holds no passages.`);
	return passages;
}

function decoded(bytes) {
	try {
		return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
	} catch {
		throw new Error("The file is not in UTF-8: save it so.");
	}
}

function ofJsonLines(text) {
	return text.split(LINE).flatMap((line, at) => {
		if (!line.trim()) return [];
		let value;
		try {
			value = JSON.parse(line);
		} catch {
			throw new Error(`Line ${at + 1} is not JSON.`);
		}
		const passage = typeof value === "string" ? value : joined(value);
		if (!passage) throw new Error(`Line ${at + 1} has no text: a passage is a string, or an object with “text”.`);
		return [passage];
	});
}

function joined(fields) {
	const name = TEXTS.find((each) => typeof fields?.[each] === "string");
	return name ? [fields.title, fields[name]].filter((part) => typeof part === "string" && part).join(" ").trim() : "";
}

function ofCsv(text) {
	const [head, ...rows] = csvRows(text);
	const wide = rows.findIndex((row) => row.length > head.length);
	if (wide >= 0) throw new Error(`Row ${wide + 2} has more cells than the first: put cells with commas into quotes.`);
	const names = head.map((name) => name.trim().toLowerCase());
	const column = names.findIndex((name) => TEXTS.includes(name));
	if (column >= 0) {
		const title = names.indexOf("title");
		return rows.map((row) => [row[title], row[column]].filter(Boolean).join(" ").trim()).filter(Boolean);
	}
	if (names.length > 1) throw new Error(`The file has the columns ${names.join(", ")}; call the one with passages “text”.`);
	return [head, ...rows].map(([cell]) => cell.trim()).filter(Boolean);
}

/** The cells of CSV, with commas (RFC 4180), or semicolons or tabs as some spreadsheets write it. */
function csvRows(text) {
	const [line] = text.split(LINE, 1);
	const [mark] = [",", ";", "\t"].sort((a, b) => line.split(b).length - line.split(a).length);
	const cell = new RegExp(`(?:"([^"]*(?:""[^"]*)*)"|([^${mark}\\r\\n]*))(${mark}|\\r\\n?|\\n|$)`, "g");
	const rows = [[]];
	for (const [, quoted, plain, end] of text.matchAll(cell)) {
		rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
		if (end === "") break;
		if (end !== mark) rows.push([]);
	}
	return rows;
}
