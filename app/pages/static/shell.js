// What both pages have: the bar on top with the key and the theme, messages, buttons that copy.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { ROOT, hasKey, setKey } from "./service.js";

const THEMES = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };

/** Set the theme before anything is drawn: the one that is chosen now, or was on an earlier visit. */
export function startTheme(chosen = null) {
	let theme = chosen;
	try {
		if (chosen) localStorage.setItem("theme", chosen);
		theme ??= localStorage.getItem("theme");
	} catch {} // storage is blocked: it holds for this page
	document.documentElement.dataset.theme = theme in THEMES ? theme : "auto";
}

function ThemeSwitch() {
	const [theme, setTheme] = useState(document.documentElement.dataset.theme);
	const names = Object.keys(THEMES);
	const next = names[(names.indexOf(theme) + 1) % names.length];
	return html`<button class="plain" onClick=${() => (startTheme(next), setTheme(next))}>${THEMES[theme]}</button>`;
}

/** The bar on top. `here`: this page; `problem`: what is wrong with the key; `keyed` is called when the key changed. */
export function Bar({ here, needed, problem, keyed, children }) {
	const [open, setOpen] = useState(false);
	const [given, setGiven] = useState(hasKey());
	useEffect(() => {
		if (problem) setOpen(true);
	}, [problem?.message]);
	const field = useRef(null);
	const toggle = useRef(null);
	useEffect(() => {
		if (open && !problem) field.current.focus();
	}, [open]);
	const use = (key) => {
		setKey(key);
		setGiven(hasKey());
		keyed();
	};
	const enter = (event) => {
		event.preventDefault();
		use(field.current.value);
		setOpen(false);
		toggle.current.focus();
	};
	const label = given ? "Key: set" : needed ? "Key: needed" : "Key: none needed";
	return html`<header>
		<a class="name" href=${ROOT}>quantum-rerank</a>
		${children}
		<nav aria-label="Pages">
			${here === "admin" ? html`<a href=${ROOT}>Playground</a>` : html`<a href=${new URL("admin", ROOT)}>Admin</a>`}
			<a href=${new URL("docs", ROOT)}>API</a>
			<${ThemeSwitch} />
			<button class="plain ${needed && !given ? "asks" : ""}" aria-expanded=${open} aria-controls="key" ref=${toggle} onClick=${() => setOpen(!open)}><${Lock} open=${given || !needed} /> ${label}</button>
		</nav>
		${open && html`<form id="key" class="key" onSubmit=${enter}>
			<label for="key-field">API key</label>
			<input id="key-field" name="key" type="password" autocomplete="off" spellcheck="false" aria-describedby="key-hint" ref=${field} />
			<button>Use it</button>${given && html`<button type="button" onClick=${() => use("")}>Forget it</button>`}
			<small id="key-hint">It stays in this page’s memory and is gone when you close or reload the page.</small>
			<${Message} problem=${problem} />
		</form>`}
	</header>`;
}

const Lock = ({ open }) => html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d=${open ? "M5 7V5a3 3 0 0 1 5.8-1" : "M5 7V5a3 3 0 0 1 6 0v2"} /><rect x="3.5" y="7" width="9" height="6.5" rx="1" /></svg>`;

/** What went wrong, where it went wrong; nothing if nothing did. What is folded around it is opened. */
export function Message({ problem, again }) {
	const own = useRef(null);
	useEffect(() => {
		const folded = problem && own.current.closest("details:not([open])");
		if (!folded) return;
		folded.open = true;
		own.current.scrollIntoView({ block: "nearest" });
	}, [problem]);
	return html`<div role="alert" class="problem" ref=${own}>${problem && html`<p class=${problem.kind === "asked" ? "asked" : ""}>${problem.message}${problem.retryAfter ? ` Try again in ${Math.ceil(problem.retryAfter)} s.` : ""} ${again && html`<button onClick=${again}>Try again</button>`}</p>`}</div>`;
}

/** A button that copies a text, and says so. */
export function Copy({ text, label = "Copy" }) {
	const [said, setSaid] = useState("");
	const copy = async () => {
		try {
			await navigator.clipboard.writeText(text());
			setSaid("Copied");
		} catch {
			setSaid("Select the text and copy it: the browser does not allow it here");
		}
		setTimeout(() => setSaid(""), 3000);
	};
	return html`<button onClick=${copy}>${label}</button> <span role="status">${said}</span>`;
}

/** A button that names what it will do and asks once. */
export function Confirmed({ label, question, act }) {
	const [asking, setAsking] = useState(false);
	const [problem, setProblem] = useState(null);
	const dialog = useRef(null);
	useEffect(() => {
		if (asking) dialog.current.showModal(); // the browser moves the focus into it, and back
	}, [asking]);
	const sure = async () => {
		dialog.current.close();
		try {
			await act();
			setProblem(null);
		} catch (error) {
			setProblem(error);
		}
	};
	return html`<span class="confirmed"><button class="plain" onClick=${() => setAsking(true)}>${label}</button><${Message} problem=${problem} />
		${asking && html`<dialog ref=${dialog} role="alertdialog" aria-label=${question} onClose=${() => setAsking(false)}><p>${question}</p>
			<button onClick=${() => dialog.current.close()}>Leave it</button> <button class="danger" onClick=${sure}>${label}</button>
		</dialog>`}</span>`;
}

/** The head of a table. A column of buttons, which say what they do, has the name "". */
export const Head = ({ names }) => html`<thead><tr>${names.map((name) => html`<th scope="col">${name || html`<span class="unseen">Actions</span>`}</th>`)}</tr></thead>`;

/** A time to the minute. */
export const minute = (time) => time.slice(0, 16).replace("T", " ");
