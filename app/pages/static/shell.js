// What both pages have: the bar on top with the key and the theme, messages, buttons that copy.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { ROOT, hasKey, setKey } from "./service.js";

const THEMES = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };

function storedTheme() {
	try {
		const theme = localStorage.getItem("theme");
		return theme in THEMES ? theme : "auto";
	} catch {
		return "auto"; // storage is blocked
	}
}

/** Set the theme before anything is drawn. */
export function startTheme() {
	document.documentElement.dataset.theme = storedTheme();
}

function ThemeSwitch() {
	const [theme, setTheme] = useState(storedTheme());
	const next = () => {
		const names = Object.keys(THEMES);
		const chosen = names[(names.indexOf(theme) + 1) % names.length];
		setTheme(chosen);
		document.documentElement.dataset.theme = chosen;
		try {
			localStorage.setItem("theme", chosen);
		} catch {
			return; // storage is blocked: it holds for this page
		}
	};
	return html`<button class="plain" onClick=${next}>${THEMES[theme]}</button>`;
}

/** The bar on top. `here`: this page; `problem`: what is wrong with the key; `keyed` is called when the key changed. */
export function Bar({ here, needed, problem, keyed, children }) {
	const [open, setOpen] = useState(false);
	const [given, setGiven] = useState(hasKey());
	useEffect(() => {
		if (problem) setOpen(true);
	}, [problem?.message]);
	const field = useRef(null);
	useEffect(() => {
		if (open && !problem) field.current.focus();
	}, [open]);
	const enter = (event) => {
		event.preventDefault();
		setKey(field.current.value);
		field.current.value = "";
		setGiven(hasKey());
		setOpen(false);
		keyed();
	};
	const forget = () => {
		setKey("");
		setGiven(false);
		keyed();
	};
	const label = given ? "Key: set" : needed ? "Key: needed" : "Key: none needed";
	return html`<header>
		<a class="name" href=${ROOT}>quantum-rerank</a>
		${children}
		<nav aria-label="Pages">
			${here !== "admin" && html`<a href=${new URL("admin", ROOT)}>Admin</a>`}
			${here !== "playground" && html`<a href=${ROOT}>Playground</a>`}
			<a href=${new URL("docs", ROOT)}>API</a>
			<${ThemeSwitch} />
			<button class="plain ${needed && !given ? "asks" : ""}" aria-expanded=${open} aria-controls="key" onClick=${() => setOpen(!open)}><${Lock} open=${given || !needed} /> ${label}</button>
		</nav>
		${open && html`<form id="key" class="key" onSubmit=${enter}>
			<label for="key-field">API key</label>
			<input id="key-field" name="key" type="password" autocomplete="off" spellcheck="false" aria-describedby="key-hint" ref=${field} />
			<button>Use it</button>${given && html`<button type="button" onClick=${forget}>Forget it</button>`}
			<small id="key-hint">It stays in this page’s memory and is gone when you close or reload the page.</small>
			<${Message} problem=${problem} />
		</form>`}
	</header>`;
}

const Lock = ({ open }) => html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d=${open ? "M5 7V5a3 3 0 0 1 5.8-1" : "M5 7V5a3 3 0 0 1 6 0v2"} /><rect x="3.5" y="7" width="9" height="6.5" rx="1" /></svg>`;

/** What went wrong, where it went wrong; nothing if nothing did. */
export function Message({ problem, again }) {
	return html`<div role="alert" class="problem">${problem && html`<p class=${problem.kind === "asked" ? "asked" : ""}>${problem.message}${problem.retryAfter ? ` Try again in ${Math.ceil(problem.retryAfter)} s.` : ""} ${again && html`<button onClick=${again}>Try again</button>`}</p>`}</div>`;
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

/** Whether a media query holds now. */
export function useMedia(query) {
	const [matches, setMatches] = useState(query.matches);
	useEffect(() => {
		const change = () => setMatches(query.matches);
		query.addEventListener("change", change);
		return () => query.removeEventListener("change", change);
	}, [query]);
	return matches;
}

/** A button that names what it will do and asks once. */
export function Confirmed({ label, question, act }) {
	const [asking, setAsking] = useState(false);
	const [problem, setProblem] = useState(null);
	const leave = useRef(null);
	useEffect(() => leave.current?.focus(), [asking]);
	const sure = async () => {
		setAsking(false);
		try {
			await act();
			setProblem(null);
		} catch (error) {
			setProblem(error);
		}
	};
	if (!asking) return html`<span class="confirmed"><button class="plain" onClick=${() => setAsking(true)}>${label}</button><${Message} problem=${problem} /></span>`;
	return html`<span class="confirmed asking-once" role="alertdialog" aria-label=${question} onKeyDown=${(event) => event.key === "Escape" && setAsking(false)}>
		<span>${question}</span> <button class="danger" onClick=${sure}>${label}</button> <button ref=${leave} onClick=${() => setAsking(false)}>Leave it</button>
	</span>`;
}

/** A time to the minute. */
export const minute = (time) => time.slice(0, 16).replace("T", " ");
