# Two commands are all: `make run` and `make test`. They need Python 3.11 or newer, and nothing else.

EXAMPLE := gotham
MINUTES := 10
INSTANCES := 10000
NODES := 200
JOBS := 4
BIN := .venv/bin
RUN := .venv/ready-run
DEV := .venv/ready-dev
DOCS := .venv/ready-docs
BENCH := .venv/ready-bench

# What is run at every change: the rest is `make drills` and `make long`.
DAILY := not drill and not long

# What fails beside other tests, on a machine that is busy, is run once more by itself, and named; then it has to pass.
AGAIN = { echo '!!! what failed is run again, one at a time:'; $(BIN)/pytest -q --lf --lfnf none

# An example is looked at as its owner does: in its own folder.
EXAMPLES = --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache/examples

# Where PYTHONDONTWRITEBYTECODE is set, each process would compile all that it imports, and take twice as long to start.
COMPILE = $(BIN)/python -m compileall -q hivemind

.DEFAULT_GOAL := help
.PHONY: help .venv run test long lint format coverage accept soak drills crowd nodes screenshots watched bench outage docs wheel clean

help: ## what one can make
	@sed -n 's/^\([a-z.]*\):.*## \(.*\)/  make \1	\2/p' Makefile

# A .venv that was moved, or whose Python is gone, is made anew.
ifneq ($(shell grep -s -q '$(CURDIR)/.venv' .venv/bin/pip && .venv/bin/python -c 'print("usable")' 2>/dev/null),usable)
.PHONY: $(RUN) $(DEV) $(DOCS) $(BENCH)
endif

$(RUN): setup.py .ci/venv
	@.ci/venv run
	@touch $@

$(DEV): setup.py .ci/venv
	@.ci/venv dev
	@touch $(RUN) $@

$(DOCS): setup.py .ci/venv
	@.ci/venv docs
	@touch $(RUN) $(DEV) $@

$(BENCH): setup.py .ci/venv
	@.ci/venv bench
	@touch $(RUN) $(DEV) $@

.venv: $(DEV) ## the virtual environment, with everything that tests and linters need

run: $(RUN) ## run an example hive in this terminal; EXAMPLE=gotham or watchtower
	@HIVEMIND_LOG_LOCATION=logs exec $(BIN)/hived --hive examples/$(EXAMPLE) start --foreground

test: $(DEV) ## all tests, on every Redis server that is installed; most of them wait, so JOBS=4 at a time
	@$(BIN)/pytest -q -n $(JOBS) --dist worksteal -m "not alone and $(DAILY)" || $(AGAIN) -m "not alone and $(DAILY)"; }
	@$(BIN)/pytest -q -n 3 --dist loadfile --no-loadscope-reorder -m "alone and $(DAILY)" || $(AGAIN) -m "alone and $(DAILY)"; }

long: $(DEV) ## the tests that tell more than those of `make test` and take much longer for it
	@$(BIN)/pytest -q -n $(JOBS) --dist worksteal -m "long and not alone and not drill"
	@$(BIN)/pytest -q -m "long and alone and not drill"

lint: $(DEV) ## ruff, mypy, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@for hive in $(patsubst %/config/hive.py,%,$(wildcard examples/*/config/hive.py)) examples/web; do (cd $$hive && $(CURDIR)/$(BIN)/mypy $(EXAMPLES) .) || exit 1; done
	@cd examples && $(CURDIR)/$(BIN)/mypy $(EXAMPLES) first_node.py
	@$(BIN)/lint-imports --no-logo

format: $(DEV) ## let ruff rewrite the sources
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

coverage: $(DEV) ## the tests that do not measure time, with the lines and branches that they reach; fails under 90 %
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q -n $(JOBS) --dist worksteal -m "not alone and not slow and $(DAILY)"
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report --fail-under=90

accept: $(DEV) ## the acceptance test on real input; MINUTES=10
	@$(BIN)/python -m tests.accept --minutes $(MINUTES)

soak: $(DEV) ## durable delivery while nodes, Redis and the network fail; MINUTES=10 SEED=7
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

drills: $(DEV) ## everything that may break, broken in a hive of its own and timed: docs/drills.json; then the tests marked drill
	@$(COMPILE)
	@$(BIN)/python -m tests.drills --json docs/drills.json
	@$(BIN)/python -m tests.docs_made
	@$(BIN)/pytest -q tests/test_fuzz.py --hypothesis-profile=many
	@$(BIN)/pytest -q -n 4 --dist worksteal -m "drill and not alone" --durations=12 -o faulthandler_timeout=1800
	@$(BIN)/pytest -q -m "drill and alone" -o faulthandler_timeout=1800

crowd: $(DEV) ## ten thousand instances on one Redis: registering, beating, coming back; INSTANCES=10000
	@$(BIN)/python -m tests.crowd --instances $(INSTANCES)

nodes: $(DEV) ## two hundred real nodes in one hive: how long they need to start, what watching them costs; NODES=200
	@$(BIN)/python -m tests.many_nodes --nodes $(NODES)

screenshots: $(DEV) ## pictures of every page of examples/watchtower, light and dark, for docs/dashboard.md
	@$(BIN)/python -m tests.screenshots

watched: $(DEV) ## a root that shows a thousand instances to many: its CPU, memory, first paint, how soon an event is there
	@$(BIN)/python -m tests.watched

bench: $(BENCH) ## Hivemind beside its peers, and docs/performance.md; QUICK=1: under a minute, writes nothing; ROWS="rate idle": only these
	@$(COMPILE)
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick,--write-docs) $(foreach row,$(ROWS),--rows $(row))

outage: $(BENCH) ## Redis and a worker broken under Hivemind, FastStream and Celery: docs/outage.json, and the table made from it
	@$(BIN)/python -m benchmarks.outage --write-docs
	@$(BIN)/python -m tests.docs_made

docs: $(DOCS) ## the documentation as a site to search, in site/, and its tests; it asks no other host for anything
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs --quiet build --strict
	@$(BIN)/pytest -q tests/test_docs_site.py
	@echo "site/ is ready: $(BIN)/python -m http.server -b 127.0.0.1 -d site"

wheel: $(DEV) ## sdist and wheel, in dist/
	@rm -rf dist build *.egg-info
	@$(BIN)/python -m build --outdir dist .

clean: ## remove everything that make made
	rm -rf .venv build dist site *.egg-info .coverage .coverage.* htmlcov .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find hivemind tests examples -name __pycache__ -type d -prune -exec rm -rf {} +
