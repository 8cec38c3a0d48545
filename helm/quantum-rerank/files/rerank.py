"""What `helm test` runs, in the service's own image: rerank through the Service, as a client would.

    python rerank.py URL

The key is one of QRERANK_AUTH__KEYS; where there is none, one is made in the service's own store, and ended afterwards.
"""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

QUESTION = {"query": "which bird sings at night", "documents": ["stocks fell", "the nightingale sings"], "top_n": 2}


def ask(url, key=None):
    """The status and the body of an answer."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(f"{url}/rerank", json.dumps(QUESTION).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def keys(*arguments):
    """What `qrerank keys` says."""
    done = subprocess.run(["qrerank", "keys", *arguments, "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"qrerank keys {arguments[0]} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def judge(status, body):
    """End with 1 unless the nightingale is first."""
    if status != 200:
        sys.exit(f"FAILED: the service answered {status}: {body}")
    order = [result["index"] for result in body["results"]]
    if order != [1, 0]:
        sys.exit(f"FAILED: it ranks {order}, not [1, 0]")
    print(f"ok: reranked {len(order)} documents, the nightingale first")


def main(url):
    """Ask as whoever the service is set to let in."""
    if os.environ.get("QRERANK_AUTH__ENABLED") != "true":
        return judge(*ask(url))
    status, body = ask(url)
    if status != 401:
        sys.exit(f"FAILED: without a key it answered {status}, not 401: {body}")
    print("ok: without a key it answers 401")
    if given := json.loads(os.environ.get("QRERANK_AUTH__KEYS", "[]")):
        return judge(*ask(url, given[0]))
    if os.environ.get("TEST_STORE") != "shared":
        return print(
            "ok: no key is given and no store is shared with the service: a token's holder has to try the rest"
        )
    made = keys("create", "--name", "helm test", "--expires-days", "0.01")
    try:
        judge(*ask(url, made["key"]))
    finally:
        keys("revoke", made["id"])


if __name__ == "__main__":
    main(sys.argv[1])
