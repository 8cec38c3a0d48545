// What both pages have.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { ROOT, hasKey, setKey } from "./service.js";

const THEMES = { auto: "as the system", light: "light", dark: "dark" };

/** Set the theme: the one that is chosen now, or was on an earlier visit. */
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
	return html`<button class=plain onClick=${() => (startTheme(next), setTheme(next))}>Theme: ${THEMES[theme]}</button>`;
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
		if (open && [toggle.current, document.body].includes(document.activeElement)) field.current.focus(); // else somebody types
	}, [open]);
	const use = (key) => {
		setKey(key);
		setGiven(hasKey());
		keyed();
	};
	const close = () => {
		setOpen(false);
		toggle.current.focus();
	};
	const enter = (event) => {
		event.preventDefault();
		use(field.current.value);
		close();
	};
	const forget = () => {
		use("");
		field.current.focus();
	};
	const label = given ? "Key: set" : needed ? "Key: needed" : "Key: none needed";
	return html`<header>
		<a class=name href=${ROOT}>quantum-rerank</a>
		${children}
		<nav aria-label=Pages>
			${here === "admin" ? html`<a href=${ROOT}>Playground</a>` : html`<a href=${new URL("admin", ROOT)}>Admin</a>`}
			<a href=${new URL("docs", ROOT)}>API</a>
			<${ThemeSwitch} />
			<button class="plain ${needed && !given ? "asks" : ""}" aria-expanded=${open} aria-controls=key ref=${toggle} onClick=${() => setOpen(!open)}><${Lock} open=${given || !needed} /> ${label}</button>
		</nav>
		${open && html`<form id=key class=key onSubmit=${enter} onKeyDown=${(event) => event.key === "Escape" && close()}>
			<label for=key-field>API key</label>
			<input id=key-field name=key type=password autocomplete=off spellcheck=false aria-describedby=key-hint ref=${field} />
			<button>Use it</button>${given && html`<button type=button onClick=${forget}>Forget it</button>`}
			<small id=key-hint>It stays in this page’s memory only, until you close or reload it.</small>
			<${Message} problem=${problem} />
		</form>`}
	</header>`;
}

const Lock = ({ open }) => html`<svg class=icon viewBox="0 0 16 16" aria-hidden=true><path d=${open ? "M5 7V5a3 3 0 0 1 5.8-1" : "M5 7V5a3 3 0 0 1 6 0v2"} /><rect x=3.5 y=7 width=9 height=6.5 rx=1 /></svg>`;

/** What went wrong, where it did. It comes into view, unless `calm`: nobody waits for it. */
export function Message({ problem, again, calm }) {
	const own = useRef(null);
	useEffect(() => {
		if (!problem || calm) return;
		const folded = own.current.closest("details:not([open])");
		if (folded) folded.open = true;
		own.current.scrollIntoView({ block: "nearest" });
	}, [problem?.message]);
	const retry = () => {
		own.current.focus(); // the button goes
		again();
	};
	return html`<div role=alert class=problem tabindex=-1 ref=${own}>${problem && html`<p class=${problem.kind}>${problem.message}${problem.retryAfter ? ` Try again in ${Math.ceil(problem.retryAfter)} s.` : ""} ${again && html`<button onClick=${retry}>Try again</button>`}</p>`}</div>`;
}

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
	return html`<button onClick=${copy}>${label}</button> <span role=status>${said}</span>`;
}

/** What a button does, once at a time: [run, whether it runs, what went wrong]. */
export function useAct(act) {
	const [busy, setBusy] = useState(false);
	const [problem, setProblem] = useState(null);
	const run = async (given) => {
		if (busy) return; // a double click
		setBusy(true);
		setProblem(null);
		await act(given).catch(setProblem);
		setBusy(false);
	};
	return [run, busy, problem];
}

/** A button that names what it will do and asks once. */
export function Confirmed({ label, question, act }) {
	const [asking, setAsking] = useState(false);
	const [run, busy, problem] = useAct(act);
	const own = useRef(null);
	const dialog = useRef(null);
	useEffect(() => {
		if (asking) dialog.current.showModal(); // the browser moves the focus into it, and back
	}, [asking]);
	const sure = async () => {
		const section = own.current.closest("section");
		dialog.current.close();
		await run();
		keepFocus(section);
	};
	return html`<span ref=${own}><button class=plain aria-disabled=${busy} onClick=${() => setAsking(!busy)}>${label}${busy && " …"}</button><${Message} problem=${problem} />
		${asking && html`<dialog ref=${dialog} role=alertdialog aria-label=${question} onClose=${() => setAsking(false)}><p>${question}</p>
			<button onClick=${() => dialog.current.close()}>Leave it</button> <button class=danger onClick=${sure}>${label}</button>
		</dialog>`}</span>`;
}

/** Put the focus on a section's heading, if what has it goes. */
export const keepFocus = (section) =>
	setTimeout(() => {
		if (document.activeElement !== document.body) return;
		const heading = section.querySelector("h2");
		heading.tabIndex = -1;
		heading.focus();
	});

/** The head of a table. A column of buttons, which say what they do, has the name "". */
export const Head = ({ names }) => html`<thead><tr>${names.map((name) => html`<th scope=col>${name || html`<span class=unseen>Actions</span>`}</th>`)}</tr></thead>`;

/** A time to the minute. */
export const minute = (time) => `${time.slice(0, 16).replace("T", " ")} UTC`;
