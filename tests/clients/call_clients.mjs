// Call every rerank client of Node once at each address and print what it threw, a JSON object a line.
// Runs in .node-clients: call_clients.mjs STATUS=URL … where the server at URL answers everything with that status.
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const find = createRequire(path.join(process.cwd(), 'x.js'));
const load = (name) => import(pathToFileURL(find.resolve(name)).href);
const { rerank } = await load('ai');
const { createCohere } = await load('@ai-sdk/cohere');
const { createTogetherAI } = await load('@ai-sdk/togetherai');
const { createVoyage } = await load('voyage-ai-provider');
const { CohereRerank } = await load('@langchain/cohere');
const { CohereClient, CohereClientV2 } = find('cohere-ai');
const { VoyageAIClient } = find('voyageai');

const apiKey = 'wrong';
const documents = ['Berlin is in Germany.', 'Paris is the capital of France.'];
const once = { maxRetries: 0 };
const sdk = (model, query, more = {}) => rerank({ model: model.reranking('m'), query, documents, ...once, ...more });

const clients = {
  'ai-sdk-cohere': (url, query) => sdk(createCohere({ baseURL: `${url}/v2`, apiKey }), query),
  'ai-sdk-togetherai': (url, query) => sdk(createTogetherAI({ baseURL: `${url}/v1`, apiKey }), query),
  'voyage-ai-provider': (url, query) => sdk(createVoyage({ baseURL: `${url}/v1`, apiKey }), query, { topN: 1 }),
  'voyage-ai-provider-notop': (url, query) => sdk(createVoyage({ baseURL: `${url}/v1`, apiKey }), query),
  'cohere-ai-v1': (url, query) =>
    new CohereClient({ token: apiKey, environment: url }).rerank({ model: 'm', query, documents }, once),
  'cohere-ai-v2': (url, query) =>
    new CohereClientV2({ token: apiKey, environment: url }).rerank({ model: 'm', query, documents }, once),
  'langchain-js-cohere': (url, query) =>
    new CohereRerank({ model: 'm', client: new CohereClient({ token: apiKey, environment: url }) })
      .rerank(documents, query),
  'voyageai-js': (url, query) =>
    new VoyageAIClient({ apiKey, environment: `${url}/v1` }).rerank({ model: 'm', query, documents, topK: 1 }, once),
  'voyageai-js-notop': (url, query) =>
    new VoyageAIClient({ apiKey, environment: `${url}/v1` }).rerank({ model: 'm', query, documents }, once),
};

const outcome = async (call, url, query, status) => {
  try {
    return ['returns', JSON.stringify(await call(url, query))];
  } catch (error) {
    const other = error.statusCode === status ? '' : ` with status ${error.statusCode}`;
    return [error.constructor.name + other, error.message];
  }
};

for (const argument of process.argv.slice(2)) {
  const [, text, url] = argument.match(/^(\d+)=(.*)$/);
  const status = Number(text);
  const query = status === 422 ? ' ' : 'What is the capital of France?'; // a query that we really refuse
  await Promise.all(Object.entries(clients).map(async ([client, call]) => {
    const [name, message] = await outcome(call, url, query, status);
    console.log(JSON.stringify({ client, status, outcome: name, message }));
  }));
}
