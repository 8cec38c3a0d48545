// The playground: a question, passages, and how each method ranks them.

import { html, render, useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { Controls, Source, Threshold } from "./controls.js";
import { useRanker } from "./ranker.js";
import { Result } from "./result.js";
import { SCENES, offered } from "./scenes.js";
import { ask, hasKey } from "./service.js";
import { Bar, Message, startTheme } from "./shell.js";
import { Past, ofFragment, ofScene } from "./state.js";

const UNFOLDED = matchMedia("(min-width: 900px)").matches; // at first; then the person decides

function App({ service }) {
	const past = useMemo(() => new Past(), []);
	const first = useMemo(() => begin(service), []);
	const [state, setState] = useState(first);
	const [collections, setCollections] = useState(service.collections);
	const [asked, setAsked] = useState(first.query);
	const ranker = useRanker(service.needsKey);
	const question = useRef(null);
	const now = useRef(null); // what is chosen when something else ends
	now.current = { state, asked };

	const set = (control, changes, run = true) => {
		const { state, asked } = now.current;
		const question = run && asked !== state.query ? { query: asked, scene: null } : {};
		const next = { ...state, ...question, ...changes };
		past.push(next, control);
		setState(next);
		if (run) {
			setAsked(next.query);
			ranker.rank(next, control);
		}
	};
	const keyed = async () => {
		set(null, {});
		setCollections(await collectionsOf().catch(() => []));
	};
	useEffect(() => {
		past.push(first, null, { replace: true });
		question.current.focus();
		question.current.select();
		if (!service.needsKey) ranker.rank(first);
		else ranker.showRecorded(first);
	}, []);
	useEffect(() => {
		const back = () => {
			const next = past.current(state);
			setState(next);
			setAsked(next.query);
			ranker.rank(next);
		};
		addEventListener("popstate", back);
		return () => removeEventListener("popstate", back);
	});

	useEffect(() => {
		const leave = (event) => {
			const { scene, passages } = now.current.state;
			if (!scene && passages.length) event.preventDefault(); // they are in memory only: the browser asks
		};
		addEventListener("beforeunload", leave);
	}, []);

	const submit = (event) => {
		event.preventDefault();
		set("query", {});
	};
	const problems = { [ranker.problem?.place]: ranker.problem };
	return html`
		<${Bar} here=playground needed=${service.needsKey} problem=${problems.key} keyed=${keyed}>
			<p class=summary>${state.collection ? `collection ${state.collection}` : "your passages"} · ${state.method} · ${state.deadline === null ? "usual deadline" : state.deadline ? `${state.deadline} ms` : "no deadline"}${state.exclude.map((text) => ` · without ${text}`)}</p>
		<//>
		<main>
			<section class=asking aria-label="Question and passages">
				<h1>A search finds a hundred passages, a language model reads five. See which five, and why.</h1>
				<form class=ask onSubmit=${submit}>
					<label class=unseen for=question>Question</label>
					<textarea id=question ref=${question} value=${asked} rows=2 dir=auto autocomplete=off maxlength=10000 onInput=${(event) => setAsked(event.target.value)} onKeyDown=${(event) => event.key === "Enter" && !event.shiftKey && !event.isComposing && submit(event)}></textarea>
					<button class=main>Rank</button>
				</form>
				<${Message} problem=${problems.query} />
				<p class=scenes>Try ${offered(collections).map((name) => html`<button class=plain key=${name} aria-pressed=${state.scene === name} onClick=${() => set("scene", ofScene(name, state))}>${SCENES[name].label}</button>`)}</p>
				<details class=options open=${UNFOLDED}><summary>Passages and how to rank them</summary>
					<${Source} state=${state} set=${set} collections=${collections} most=${service.most} problem=${problems.documents ?? problems.collection} />
					<${Threshold} state=${state} set=${set} results=${ranker.view?.rows ?? []} />
					<${Controls} state=${state} set=${set} notes=${ranker.notes} problems=${problems} crossed=${service.crossed} />
				</details>
			</section>
			<section class=result aria-label=Ranking aria-busy=${ranker.busy !== null}>
				<h2 class=unseen>Ranking</h2>
				<${Result} view=${ranker.view} state=${state} busy=${ranker.busy} problem=${problems.result} again=${() => ranker.rank(state)} />
			</section>
		</main>`;
}

const collectionsOf = async () => (await ask("v1/collections")).data.map((each) => each.name);

function begin({ collections }) {
	const [usual] = offered(collections);
	const state = ofFragment(location.hash, ofScene(usual));
	return state.scene === "docs" && usual !== "docs" ? ofScene(usual, state) : state;
}

/** What the page must know of the service. While the model loads, it says so and asks again. */
async function look(say) {
	for (;;) {
		try {
			const [info, { auth }] = await Promise.all([ask("info"), ask("v1/cluster/auth")]);
			const collections = auth && !hasKey() ? [] : await collectionsOf();
			return { needsKey: auth, collections, crossed: Boolean(info.cross_encoder), most: info.max_client_batch_size };
		} catch (problem) {
			say(problem.kind === "not-ready" ? "The model is loading …" : `${problem.message} Trying again …`);
			await new Promise((resolve) => setTimeout(resolve, 1000 * Math.min(problem.retryAfter ?? 2, 10)));
		}
	}
}

startTheme();
const app = document.getElementById("app");
const service = await look((text) => render(html`<p class=loading role=status>${text}</p>`, app));
render(null, app);
app.textContent = "";
render(html`<${App} service=${service} />`, app);
