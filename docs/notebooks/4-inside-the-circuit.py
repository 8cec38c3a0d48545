# %% [markdown]
# # Notebook 4: inside the circuit
#
# What `quantum` computes for one token of a query and one of a document, step by step, and the same by Qiskit's
# simulator. The circuits have at most four qubits and are simulated on the CPU: no quantum computer is
# involved, and no quantum advantage is claimed ([quantum.md](../quantum.md) has the proofs).

# %%
import numpy as np

from quantum.circuits import draw, symbolic_circuit
from quantum.gates import check_limits
from quantum.feature_maps import feature_map

small = feature_map("angle", 2)
print(draw(symbolic_circuit(small)))
print(check_limits(feature_map("angle", 4)))

# %% [markdown]
# Each qubit turns by an angle that is a feature of the query's token times the bandwidth, and back by the
# document's. Where both are the same, all qubits end where they began: the probability of reading only zeros,
# the fidelity, is 1.
#
# ## A fidelity by hand
#
# For the map `angle` it is a product of cosines. With 384 features and four qubits there are 96 registers,
# whose fidelities are multiplied.

# %%
from app.settings import Settings
from quantum.backends import ExactBackend
from retrieval.encoder.prepare import load_encoder

encoder = load_encoder("all-MiniLM-L6-v2", Settings().model_dir, progress=lambda *_: None)
WORDS = ["nightingale", "bird", "songbird", "market", "stocks"]
rows = encoder.encode(WORDS).token_rows().astype(np.float64)  # one token row for each of these words and word pieces
pieces = [(word, len(tokens.ids) - 2) for word, tokens in zip(WORDS, encoder.tokenize(WORDS), strict=True)]
print(rows.shape, pieces)

# %% [markdown]
# A row is stored in int8 and used as a unit vector.

# %%
rows /= np.linalg.norm(rows, axis=1, keepdims=True)
states = feature_map("angle", 4)
turns = states.bandwidth * (rows[0] - rows[1]) / 2
print("by hand:  ", float(np.prod(np.cos(turns) ** 2)))
print("simulated:", float(ExactBackend().estimate(states, rows[:1], rows[1:2]).fidelity[0, 0]))

# %% [markdown]
# ## Every token with every other

# %%
import matplotlib.pyplot as plt

labels = [word if count == 1 else f"{word} {number + 1}" for word, count in pieces for number in range(count)]
fidelities = ExactBackend().estimate(states, rows, rows).fidelity
figure, axes = plt.subplots(figsize=(6, 5))
image = axes.imshow(fidelities, cmap="viridis", vmin=0, vmax=1)
axes.set_xticks(range(len(labels)), labels, rotation=90)
axes.set_yticks(range(len(labels)), labels)
figure.colorbar(image, label="fidelity")
figure.tight_layout()

# %% [markdown]
# ## From shots
#
# A device gives no probabilities, but counts. Aer samples them: with more shots the estimates come closer, and
# their standard error says how close.

# %%
from quantum.backends.aer import AerBackend

exact = ExactBackend().estimate(states, rows[:1], rows[1:2])
print(f"exact       {exact.fidelity[0, 0]:.4f}")
for shots in (256, 1024, 4096):
    estimate = AerBackend(shots, seed=7).estimate(states, rows[:1], rows[1:2])
    print(f"{shots:5} shots {estimate.fidelity[0, 0]:.4f} ± {estimate.standard_error[0, 0]:.4f}")

# %% [markdown]
# ## From tokens to a document
#
# Each token of the query takes its best token of the document; the score is the mean of those fidelities. Here
# the query is its first word alone.

# %%
for label, value in sorted(zip(labels[1:], fidelities[0, 1:], strict=True), key=lambda pair: -pair[1])[:5]:
    print(f"{value:.3f}  {label}")
