# Each target makes what it needs: a virtual environment in .venv, the servers for the tests.

.DEFAULT_GOAL := help
.PHONY: help demo test test-oldest test-newest test-whoosh3 lint format bench soak fuzz clean
.DELETE_ON_ERROR:
.SECONDARY:

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore

# The names in the group or the extra `dev`; pip before 25.1 knows no groups.
define DEV_REQUIREMENTS
import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))
extras = project["project"].get("optional-dependencies", {})
print(*{**extras, **project.get("dependency-groups", {})}["dev"], sep="\n")
endef
export DEV_REQUIREMENTS

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: .venv/installed ## the main job on embedded servers: pull, index, search, resend
	.venv/bin/python -m demo

test: .venv/installed-dev ## everything that continuous integration runs
	.ci/test-servers
	@$(MAKE) --no-print-directory lint
	@if [ "$$(.ci/python oldest)" = "$$(.ci/python newest)" ]; then \
		echo "Only one Python at hand: the tests run with it alone."; \
		$(MAKE) --no-print-directory --jobs 2 --output-sync=target test-oldest test-whoosh3; \
	else \
		$(MAKE) --no-print-directory --jobs 2 --output-sync=target test-oldest test-newest test-whoosh3; \
	fi

test-oldest: .venv/installed-dev
	.venv/bin/python -m pytest

test-newest: .venv-newest/installed-dev
	.venv-newest/bin/python -m pytest

test-whoosh3: .venv-whoosh3/whoosh3 ## the tests of the index on whoosh3, which has the same format
	.venv-whoosh3/bin/python -m pytest tests/search tests/indexer

lint: .venv/installed-dev ## style, types, and the order of the rooms
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

format: .venv/installed-dev ## put the code into the project's form
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

bench: .venv/installed-dev ## every figure of docs/benchmarks.md once, beside mbsync, notmuch and mu where they do the same
	.ci/test-servers
	.venv/bin/python -m bench.pull all --short
	.venv/bin/python -m bench.restore --runs 1
	.venv/bin/python -m bench.exchange --runs 1
	.venv/bin/python -m bench.push
	.venv/bin/python -m bench.send
	.venv/bin/python -m bench.search
	.venv/bin/python -m bench.verbs
	.venv/bin/python -m bench.threads
	.venv/bin/python -m bench.languages
	.venv/bin/python -m bench.index --runs 1
	.venv/bin/python -m bench.attachments

soak: .venv/installed-dev ## the tests again, with many more rounds of kills and random histories
	.ci/test-servers
	.venv/bin/python -m pytest --rounds 20 --hypothesis-profile soak

fuzz: .venv/installed-dev ## an hour of mail and queries that nobody would write
	.venv/bin/python -m bench.fuzz

clean: ## remove the virtual environments, caches and unpacked servers
	rm -rf .servers .venv .venv-newest .venv-whoosh3 .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/installed .venv-whoosh3/installed: PYTHON = oldest
.venv-newest/installed: PYTHON = newest
%/installed: pyproject.toml
	@$*/bin/python -m pip --version >/dev/null 2>&1 || \
		{ python=$$(.ci/python $(PYTHON)) && set -x && "$$python" -m venv --clear $*; }
	$*/bin/python -m pip install --quiet --editable '.[demo,attachments]'
	@touch $@

# The two share the name `whoosh`: never both in one environment.
.venv-whoosh3/whoosh3: .venv-whoosh3/installed-dev
	.venv-whoosh3/bin/python -m pip uninstall --quiet --yes Whoosh whoosh3
	.venv-whoosh3/bin/python -m pip install --quiet --no-deps whoosh3==3.54.0
	@touch $@

%/installed-dev: %/installed
	@$*/bin/python -c "$$DEV_REQUIREMENTS" > $*/dev.txt
	$*/bin/python -m pip install --quiet --requirement $*/dev.txt
	@touch $@
