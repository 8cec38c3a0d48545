// Passages that a person brings: pasted lines, or a .txt, .jsonl or .csv file. All of it stays in this page's memory.

const TEXTS = ["text", "passage", "content", "contents", "document", "body", "page_content"];

/** One passage a line; blank lines are none. */
export const ofLines = (text) => text.split(/\r?\n/).map((line) => line.trim()).filter(Boolean);

/** The passages of a file. Throws an Error that says which line is wrong. */
export function ofFile(name, text) {
	const ending = name.toLowerCase().split(".").pop();
	const passages = { jsonl: ofJsonLines, ndjson: ofJsonLines, csv: ofCsv }[ending]?.(text) ?? ofLines(text);
	if (!passages.length) throw new Error(`${name} holds no passages.`);
	return passages;
}

function ofJsonLines(text) {
	const lines = text.split("\n").map((line, at) => [line.trim(), at + 1]);
	return lines.filter(([line]) => line).map(([line, number]) => {
		let value;
		try {
			value = JSON.parse(line);
		} catch {
			throw new Error(`Line ${number} is not JSON.`);
		}
		const passage = typeof value === "string" ? value : joined(value);
		if (!passage) throw new Error(`Line ${number} has no text: a passage is a string, or an object with “text”.`);
		return passage;
	});
}

function joined(fields) {
	const name = TEXTS.find((each) => typeof fields?.[each] === "string");
	return name ? [fields.title, fields[name]].filter((part) => typeof part === "string" && part).join(" ").trim() : "";
}

function ofCsv(text) {
	const [head, ...rows] = csvRows(text);
	const names = (head ?? []).map((name) => name.trim().toLowerCase());
	const column = names.findIndex((name) => TEXTS.includes(name));
	if (column >= 0) {
		const title = names.indexOf("title");
		return rows.map((row) => [row[title], row[column]].filter(Boolean).join(" ").trim()).filter(Boolean);
	}
	if (names.length > 1) throw new Error(`The file has the columns ${names.join(", ")}; call the one with passages “text”.`);
	return [head ?? [], ...rows].map(([cell]) => (cell ?? "").trim()).filter(Boolean);
}

/** The cells of CSV as RFC 4180 describes it: quoted cells may hold commas, lines and doubled quotes. */
function csvRows(text) {
	const rows = [[]];
	for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^,\r\n]*))(,|\r?\n|$)/g)) {
		rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
		if (end === "") break;
		if (end !== ",") rows.push([]);
	}
	return rows.filter((row) => row.some(Boolean));
}
