# Everything a newcomer or a build server does; `make help` lists it.
# ARGS is passed on: make test ARGS='-k drain'. PYTHON names the interpreter: make install PYTHON=python3.12

.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PYTHONS := 3.11 3.12 3.13 3.14
# How tests share processes: a file's all in one, for they share an engine, an Ollama or a browser; in their order,
# for the slowest files come first then. ARGS='-n 0' is one; more processes than cores are of use, for many tests wait.
PROCESSES := 2
# The event loop of the tests and of the services that they start: auto, asyncio or uvloop.
LOOP := auto
# What leans on the loop: sockets, streams, who leaves, clocks, drivers, child processes, signals.
LEANING := tests/unit/test_event_loop.py tests/unit/test_in_turns.py tests/unit/connections tests/unit/upstream \
	tests/unit/generation/test_watch.py tests/unit/database/test_sqlite_driver.py tests/unit/database/test_database.py \
	tests/web/test_connections.py tests/web/test_connection_ends.py tests/web/test_broken_connections.py \
	tests/web/llm/test_short_way.py tests/web/llm/test_leaving.py tests/web/llm/test_kept_connections.py tests/web/llm/test_stream_failures.py
BESIDE = -n $(PROCESSES) --dist loadfile --no-loadscope-reorder
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Sets $python to PYTHON, else to the first interpreter that runs and fits. It must be tried, not looked up:
# pyenv's shims exist for every version and fail for most. The environment's own comes first, so that one
# made with PYTHON=… is kept by the next plain make.
define find_python
if [ -n "$(PYTHON)" ]; then set -- "$(PYTHON)"; \
else set -- $(BIN)/python python3 python3.14 python3.13 python3.12 python3.11 python; fi; \
python=; \
for candidate do \
	if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then python=$$candidate; break; fi; \
done; \
if [ -z "$$python" ]; then \
	echo "No Python 3.11 or newer that runs was found (tried: $$*): install one, or name it with PYTHON=/path/to/python." >&2; \
	exit 1; \
fi
endef

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' Makefile

.PHONY: install
install: ## Make or refresh .venv: the service, its embedded engine, the console's libraries
	@$(find_python); exec "$$python" scripts/make_env.py install $(VENV) requirements.txt --optional requirements-embedded.txt --console

.PHONY: install-dev
install-dev: ## The same with everything that tests and checks need
	@$(find_python); exec "$$python" scripts/make_env.py install $(VENV) requirements.txt requirements-dev.txt --optional requirements-embedded.txt --console

.PHONY: install-tracing
install-tracing: install ## Add to .venv what traces need (docs/traces.md)
	@$(find_python); exec "$$python" scripts/make_env.py install $(VENV) requirements.txt requirements-tracing.txt

.PHONY: console
console: install ## Try again to get the JavaScript libraries of the console, where make install could not
	@exec $(BIN)/python scripts/console_libraries.py --again $(VENV)

.PHONY: run
run: install ## Start the service; writes .env with a fresh random key if there is none
	@$(BIN)/python scripts/make_env.py dotenv
	@exec $(BIN)/python -m mlops_backend

.PHONY: test
test: install-dev ## Run every test but the long ones and those of the targets below, in two processes; ARGS go to pytest; LOOP=asyncio is the other loop
	@EVENT_LOOP=$(LOOP) $(BIN)/python -m pytest $(BESIDE) $(ARGS)

.PHONY: test-long
test-long: install-dev ## The tests that take long and have another of their kind in `make test`: before a release
	@EVENT_LOOP=$(LOOP) $(BIN)/python -m pytest $(BESIDE) -m long $(ARGS)

.PHONY: test-loop
test-loop: install-dev ## The tests that lean on the event loop, on LOOP=asyncio or another
	@EVENT_LOOP=$(LOOP) $(BIN)/python -m pytest -n 0 $(LEANING) $(ARGS)

.PHONY: check
check: install-dev ## Lint, format, types, import rules, locks match their inputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py -q
	$(BIN)/python scripts/locks.py check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: format
format: install-dev ## Format the code and apply the linter's safe fixes
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: lock
lock: install-dev ## Compile the locks again after a change in pyproject.toml; ARGS=--upgrade for newer versions
	@$(BIN)/python scripts/locks.py lock $(ARGS)

.PHONY: sbom
sbom: install-dev ## Write build/sbom: CycloneDX bills of what the images hold, and its licences
	@$(find_python); "$$python" scripts/make_env.py install $(VENV)-supply requirements-supply.txt
	@$(VENV)-supply/bin/python -m scripts.supply sbom $(BIN)/python

.PHONY: audit
audit: ## Ask for known holes in all that the locks name; ARGS go to pip-audit, --where-possible is content where nobody tells
	@$(find_python); "$$python" scripts/make_env.py install $(VENV)-supply requirements-supply.txt
	@$(VENV)-supply/bin/python -m scripts.supply audit $(ARGS)

.PHONY: bench
bench: install-dev ## Measure the service against a bare relay; ARGS go to the benchmark
	@$(BIN)/python -m bench $(ARGS)

.PHONY: mutate
mutate: ## Break the code in small ways and look whether a test notices; ARGS='--sample 200 --seed 7' is of the whole product
	@$(find_python); "$$python" scripts/make_env.py install $(VENV)-mutate requirements.txt requirements-dev.txt requirements-mutate.txt --optional requirements-embedded.txt
	@$(VENV)-mutate/bin/python -m tests.mutation $(ARGS)

.PHONY: chaos
chaos: install-dev ## Clients of all dialects while backends, databases and workers fail; ARGS='--seed 7 --postgresql --redis', --no-real is fakes alone
	@$(BIN)/python -m chaos $(ARGS)

.PHONY: trial
trial: install-dev ## Try the built service as careless and hostile parties do; ARGS='--part ci' is two minutes of it
	@$(BIN)/python -m trial $(ARGS)

.PHONY: soak
soak: install-dev ## The tests that take minutes, on real clocks
	@$(BIN)/python -m pytest -m soak $(ARGS)

.PHONY: test-servers
test-servers: install-dev ## Ask real servers with and without the service: vLLM, transformers, llama.cpp, LitServe, infinity, two routers
	@$(BIN)/python -m pytest -m servers --tb=line -q tests/servers/real $(ARGS)

.PHONY: test-clients
test-clients: install-dev ## Other people's clients against the service; ARGS=--write-page keeps the results
	@$(BIN)/python -m pytest -m clients tests/clients $(ARGS)

.PHONY: test-description
test-description: install-dev ## Make clients from the API's description with four generators, and walk with them
	@$(BIN)/python -m pytest -m description -q tests/description $(ARGS)

.PHONY: test-pythons
test-pythons: ## The drain tests on each of Python 3.11 to 3.14 that is here; PYTHONS names others
	@$(find_python); passed=; missing=; \
	for version in $(PYTHONS); do \
		if found=$$("$$python" scripts/make_env.py find $$version); then \
			echo "Python $$version: $$found"; \
			"$$found" scripts/make_env.py install $(VENV)-$$version requirements-dev.txt || exit 1; \
			EVENT_LOOP=$(LOOP) $(VENV)-$$version/bin/python -m pytest -m drain $(ARGS) || exit 1; \
			passed="$$passed $$version"; \
		else \
			missing="$$missing $$version"; \
		fi; \
	done; \
	echo "Drain tests passed on Python$${passed:- (none)}; not found:$${missing:- none}"

.PHONY: test-fresh
test-fresh: ## As root: bare Debian systems, in which make run must stream; ARGS go to scripts/fresh.py
	@$(find_python); exec "$$python" scripts/fresh.py $(ARGS)

.PHONY: test-image
test-image: ## As root: both variants of the image, built by buildah, as its own user and as others
	@$(find_python); exec "$$python" -m scripts.image $(ARGS)

# Never --quiet: MkDocs counts only the warnings that it prints, and would be strict about none.
.PHONY: docs
docs: install-dev ## Build the documentation's site into site/; a broken link, anchor or orphan fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: docs-serve
docs-serve: install-dev ## Serve the documentation on http://127.0.0.1:8001, and follow changes
	@$(BIN)/mkdocs serve --dev-addr 127.0.0.1:8001

.PHONY: clean
clean: ## Remove environments, caches and build output; .env and data stay
	@rm -rf $(VENV) $(VENV)-3.* $(VENV)-mutate $(VENV)-supply .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist site *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
