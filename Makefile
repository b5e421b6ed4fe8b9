# `make help` lists the recipes. CARGO_TARGET_DIR, CARGO_FLAGS and the variables below are honoured.

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
# Where tests keep what they fetch: Apache Kafka's jars, Apicurio Registry, Python, Node and Java
# clients of Kafka and the registry, Schemathesis.
export LOCKSTEP_TEST_TOOLS ?= $(TARGET)/test-tools

# Modules of lockstep's tests that go through all of a pipeline, types and catalogs above all.
VERSIONED := changes:: columns:: control:: differences:: every_type:: filters:: first_snapshot:: generated:: \
    indexes:: large:: lossless:: schema_changes:: sequences:: setup:: snapshot:: two_phase:: types:: verify::

# What is random in its order as well, and long: of `make prove`.
NOT_LONG := --skip storm::

.PHONY: help check fmt test test-kafka outcomes test-registry test-postgres prove bench bench-quick bench-build bench-rest demo screenshots up down logs health
.DEFAULT_GOAL := help

help: ## list the recipes
	@sed -nE 's/^([a-z-]+):.*## /\1\t/p' Makefile | expand -t 14

check: ## formatting, lints, documentation, house rules
	cargo fmt --all -- --check
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_FLAGS) --workspace --no-deps
	tools/house-rules

fmt: ## format the code
	cargo fmt --all

test: ## every test, with the real servers; installs what they need
	tools/install-needs test
	cargo test $(CARGO_FLAGS) --workspace -- $(NOT_LONG)

test-kafka: ## the tests that use Kafka, against Apache Kafka instead of the local broker
	tools/install-needs kafka
	LOCKSTEP_TEST_KAFKA=apache cargo test $(CARGO_FLAGS) --workspace --exclude api --exclude gateway --exclude service --test it -- $(NOT_LONG)
	LOCKSTEP_TEST_KAFKA=apache cargo run -q $(CARGO_FLAGS) -p testkit --bin with-kafka -- cargo test $(CARGO_FLAGS) -p local --test kafka

outcomes: ## each test of the local Kafka broker, with its outcome there and on Apache Kafka, as a table
	tools/install-needs kafka
	@tools/kafka-outcomes

test-registry: ## the tests that use the schema registry, against Apicurio Registry instead of the local one
	tools/install-needs kafka
	LOCKSTEP_TEST_REGISTRY=apicurio cargo test $(CARGO_FLAGS) -p cdc -p applier -p operate --lib -- registry::
	LOCKSTEP_TEST_REGISTRY=apicurio cargo test $(CARGO_FLAGS) -p cdc -p applier --test it
	LOCKSTEP_TEST_REGISTRY=apicurio cargo run -q $(CARGO_FLAGS) -p testkit --bin with-registry -- cargo test $(CARGO_FLAGS) -p local --test registry any_maker::

test-postgres: ## the tests of what depends on Postgres' version, on 16, 17 and 18
	tools/install-needs postgres
	cargo test $(CARGO_FLAGS) -p applier -p cdc -p lockstep --test it --no-run
	for major in 16 17 18; do \
	    echo "Postgres $$major"; \
	    LOCKSTEP_PG_BIN=$$(tools/postgres $$major) && export LOCKSTEP_PG_BIN || exit; \
	    cargo test $(CARGO_FLAGS) -p applier --test it || exit; \
	    cargo test $(CARGO_FLAGS) -p cdc --test it || exit; \
	    cargo test $(CARGO_FLAGS) -p lockstep --test it -- $(VERSIONED) || exit; \
	done

screenshots: ## renew the pictures of the web pages in docs/images
	tools/install-needs test
	mkdir -p docs/images
	LOCKSTEP_TEST_SCREENSHOTS=$(CURDIR)/docs/images cargo test $(CARGO_FLAGS) -p lockstep --test it -- browser:: console::

prove: ## the promises at full length: a minute of pgbench under kill -9, ten of a storm of DDL and DML
	tools/install-needs test
	tools/prove

bench: bench-build ## replication beside Postgres' own, over all workloads and brokers: tables, JSON and pictures in bench/results
	tools/install-needs kafka
	$(TARGET)/release/bench catch-up --apache --capture
	$(TARGET)/release/bench steady --apache
	$(TARGET)/release/bench growth
	$(TARGET)/release/bench brokers --apache

bench-quick: bench-build ## as bench, but for three backlogs and the local broker only, in less than five minutes, beside the stored results
	$(TARGET)/release/bench catch-up --workloads insert,update,small --pairs 3 --results $(TARGET)/bench-quick

bench-build:
	tools/install-needs bench
	cargo build $(CARGO_FLAGS) --release -p lockstep -p local -p bench --bins

bench-rest: ## how fast REST and GraphQL answer, beside the same statements by pgbench
	tools/install-needs bench
	bench/rest/run

demo: ## everything on this machine under a live load; DEMO_SECONDS=20 ends it with a comparison
	@tools/install-needs demo
	cargo build $(CARGO_FLAGS) --release --bin lockstep
	$(TARGET)/release/lockstep up --demo --data $$(tools/demo-data) $(if $(DEMO_SECONDS),--demo-seconds $(DEMO_SECONDS))

up: ## the whole system in containers, with Kafka, registry, Prometheus and Grafana; needs Docker
	tools/containers up

down: ## stop the containers; their data stays (`docker compose -f docker/compose.yaml down -v` drops it)
	tools/containers down

logs: ## follow what the containers say; SERVICE=cdc for one of them
	tools/containers logs $(SERVICE)

health: ## how every container is, and where the pipeline stands
	tools/containers health
