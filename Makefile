# The whole pipeline, stage by stage; a stage whose inputs have not changed is not run again.
#
#   make pipeline   the original's README on training_dataset and testing_dataset
#   make demo       the same on synthetic scans, in minutes
#   make models     the models in saved_models, as they were made (hours); CASES=DIR names annotated scans
#   make folds      five sets of networks, each taught without a fifth of the scans, and what they find there
#   make accuracy   the tables of docs/accuracy.md again, with CASES=DIR
#   make dist       the program as one file with its models, for Linux on x86-64 and aarch64: dist/*.tar.gz
#   make wheel      the Python package: dist/*.whl
#   make test       all tests
#   make ci         what the continuous integration runs
#
# Everything below ROOT, so that the demo has folders of its own. Options go to the stages as they
# are: make pipeline DETECTION="--epochs 10 --batch-size 4".

ROOT ?= .
TRAINING ?= $(ROOT)/training_dataset
TESTING ?= $(ROOT)/testing_dataset
GEN_DETECTION ?=
GEN_IDENTIFICATION ?=
DETECTION ?=
IDENTIFICATION ?=
MEASURE ?=
# The original's format; the models that come with the program are .safetensors and stay as they are.
MODEL ?= h5

VERTEBRAE := target/release/vertebrae
SAMPLES := $(ROOT)/samples
MODELS := $(ROOT)/saved_models
TRAINING_SCANS := $(wildcard $(TRAINING)/*.nii.gz $(TRAINING)/*/*.nii.gz $(TRAINING)/*.lml $(TRAINING)/*/*.lml)
TESTING_SCANS := $(wildcard $(TESTING)/*.nii.gz $(TESTING)/*/*.nii.gz $(TESTING)/*.lml $(TESTING)/*/*.lml)
LOGS = --checkpoints $(ROOT)/checkpoints --logs $(ROOT)/logs

.PHONY: pipeline demo models course bodies names chain folds accuracy dist wheel test ci build clean-demo
.DELETE_ON_ERROR:

pipeline: $(ROOT)/plots/measure.txt

build:
	cargo build --release

$(VERTEBRAE): $(shell find src assets Cargo.toml Cargo.lock -type f 2>/dev/null)
	cargo build --release
	@touch $@

$(SAMPLES)/detection/training/.done: $(TRAINING_SCANS) | $(VERTEBRAE)
	$(VERTEBRAE) gen-detection $(TRAINING) $(@D) $(GEN_DETECTION)
	@touch $@

$(SAMPLES)/detection/testing/.done: $(TESTING_SCANS) | $(VERTEBRAE)
	$(VERTEBRAE) gen-detection $(TESTING) $(@D) $(GEN_DETECTION)
	@touch $@

$(SAMPLES)/identification/training/.done: $(TRAINING_SCANS) | $(VERTEBRAE)
	$(VERTEBRAE) gen-identification $(TRAINING) $(@D) $(GEN_IDENTIFICATION)
	@touch $@

$(SAMPLES)/identification/testing/.done: $(TESTING_SCANS) | $(VERTEBRAE)
	$(VERTEBRAE) gen-identification $(TESTING) $(@D) $(GEN_IDENTIFICATION)
	@touch $@

$(MODELS)/detection.$(MODEL): $(SAMPLES)/detection/training/.done $(SAMPLES)/detection/testing/.done
	$(VERTEBRAE) train-detection $(<D) $(SAMPLES)/detection/testing $@ $(LOGS) $(DETECTION)

$(MODELS)/identification.$(MODEL): $(SAMPLES)/identification/training/.done $(SAMPLES)/identification/testing/.done
	$(VERTEBRAE) train-identification $(<D) $(SAMPLES)/identification/testing $@ $(LOGS) $(IDENTIFICATION)

$(ROOT)/plots/measure.txt: $(MODELS)/detection.$(MODEL) $(MODELS)/identification.$(MODEL) $(TESTING_SCANS)
	@mkdir -p $(@D)
	$(VERTEBRAE) measure $(TESTING) $(MODELS)/detection.$(MODEL) $(MODELS)/identification.$(MODEL) \
		--plots $(@D) --json $(@D)/measure.json $(MEASURE) > $@.part
	mv $@.part $@

# The demo: phantoms instead of patients, voxels of 2 mm, small networks, short training. Higher
# learning rates that fall, smaller batches, steadier running statistics, an output that starts in the
# middle of the spine and less deformation than the original's make up for minutes instead of days.
DEMO_SCANS ?= 100
DEMO_TESTS ?= 8
DEMO_DETECTION ?= --filters 8 --epochs 5 --batch-size 4 --learning-rate 0.003 --decay 0.004 --momentum 0.99 \
	--loss combined
DEMO_IDENTIFICATION ?= --filters 8 --epochs 12 --batch-size 8 --learning-rate 0.005 --decay 0.0015 \
	--momentum 0.99 --initial-level 13

demo/training_dataset/.done: | $(VERTEBRAE)
	$(VERTEBRAE) gen-phantom $(@D) --scans $(DEMO_SCANS) --seed 1
	@touch $@

demo/testing_dataset/.done: | $(VERTEBRAE)
	$(VERTEBRAE) gen-phantom $(@D) --scans $(DEMO_TESTS) --seed 2
	@touch $@

demo: demo/training_dataset/.done demo/testing_dataset/.done
	$(MAKE) pipeline ROOT=demo \
		GEN_DETECTION="--spacing 2 --sample-size 32x32x48" \
		GEN_IDENTIFICATION="--spacing 2 --sample-size 8x48x160 --deformation 1 --samples 30" \
		DETECTION="$(DEMO_DETECTION)" IDENTIFICATION="$(DEMO_IDENTIFICATION)" \
		MEASURE="--spacing 2 --sample-size 32x32x48"
	@echo
	@grep "Id rate" demo/plots/measure.txt
	@echo "pictures: $$(ls demo/plots/phantom-*.png | head -1) and the others beside it, demo/plots/boxplot.png"

# The models that come with the program. CASES names a folder of annotated scans, necks in one sub-folder and trunks
# in others, and in its file SPLIT which of them are for learning and which for choosing (`learn PATH`, `dev PATH`,
# a line each). The rough course is a network of whole volumes, taught on phantoms and then on phantoms and
# the scans of COURSE_SCANS; the bodies and the names are read from the straightened spine.
MODEL_WORK ?= models
CASES ?=
COURSE_SCANS ?=
FINAL := $(if $(COURSE_SCANS),$(MODEL_WORK)/course/all,$(MODEL_WORK)/course/phantoms)
TEACH ?= --epochs 28 --patches 320 --batch-size 4 --learning-rate 0.003 --decay 0.0008 --momentum 0.98
TUNE ?= --epochs 7 --patches 240 --batch-size 4 --learning-rate 0.0015 --decay 0.003 --momentum 0.98 --frozen 3
FINISH ?= --epochs 10 --patches 240 --batch-size 4 --learning-rate 0.001 --decay 0.003 --momentum 0.98 --frozen 1 --seed 7
# Networks of the straightened spine. Phantoms alone teach where bodies are, in minutes; what scans of people look like comes
# after. Two networks of names: one that sees the bones around a body learns from both at once, one that sees the whole spine
# begins with phantoms, too.
SHARES ?= --share phantoms=0.15,neck=0.2
FOLDS := 0 1 2 3 4
FOLD := $(MODEL_WORK)/folds
PHANTOM_BODIES ?= --epochs 2 --learning-rate 0.002 --weight-decay 0.02 --seed 11
PHANTOM_WHOLE ?= --epochs 4 --learning-rate 0.002 --weight-decay 0.03 --seed 31
BODIES ?= $(SHARES) --epochs 4 --learning-rate 0.002 --weight-decay 0.02
ALL_BODIES ?= $(SHARES) --epochs 2 --learning-rate 0.001 --weight-decay 0.02 --seed 5
MORE_BODIES ?= $(SHARES) --epochs 3 --learning-rate 0.001 --weight-decay 0.02 --seed 41
TEACH_NAMES := --share phantoms=0.2,neck=0.15 --epochs 8 --learning-rate 0.003 --weight-decay 0.03 --precision auto
NAMES ?= $(TEACH_NAMES) --seed 91
ALL_NAMES ?= $(TEACH_NAMES) --seed 92
TEACH_WHOLE := --whole --share phantoms=0.35,neck=0.15 --epochs 4 --weight-decay 0.03
WHOLE ?= $(TEACH_WHOLE) --learning-rate 0.002 --seed 32
ALL_WHOLE ?= $(TEACH_WHOLE) --learning-rate 0.0015 --seed 33

$(MODEL_WORK)/course/.done: | $(VERTEBRAE)
	$(VERTEBRAE) gen-phantom $(@D)/phantoms/hospital --cohort hospital --voxel 3 --scans 360 --seed 5
	$(VERTEBRAE) gen-phantom $(@D)/phantoms/healthy --voxel 2 --scans 160 --seed 6
	$(VERTEBRAE) gen-phantom $(@D)/check --cohort hospital --voxel 3 --scans 4 --seed 8
	$(if $(COURSE_SCANS),mkdir -p $(@D)/all && ln -sfn ../phantoms $(@D)/all/phantoms && \
		ln -sfn $(abspath $(COURSE_SCANS)) $(@D)/all/real)
	@touch $@

$(MODEL_WORK)/taught.safetensors: $(MODEL_WORK)/course/.done
	$(VERTEBRAE) train-identification --arch volume $(<D)/phantoms $(<D)/check $@ $(TEACH) \
		--checkpoints $(MODEL_WORK)/checkpoints --logs $(MODEL_WORK)/logs

$(MODEL_WORK)/tuned.safetensors: $(MODEL_WORK)/taught.safetensors
	$(VERTEBRAE) train-identification --arch volume $(FINAL) $(MODEL_WORK)/course/check $@ --start $< $(TUNE) \
		--half --checkpoints $(MODEL_WORK)/tuned --logs $(MODEL_WORK)/logs

course: $(MODEL_WORK)/tuned.safetensors
	$(VERTEBRAE) train-identification --arch volume $(FINAL) $(MODEL_WORK)/course/check saved_models/course.safetensors \
		--start $< $(FINISH) --half --checkpoints $(MODEL_WORK)/finished --logs $(MODEL_WORK)/logs

# learn/{neck,trunk,phantoms} and dev/{neck,trunk}: links, so that no scan is copied.
$(MODEL_WORK)/spines/.done: | $(VERTEBRAE)
	@test -n "$(CASES)" || { echo "CASES must name a folder of annotated scans with a file SPLIT" >&2; exit 2; }
	rm -rf $(@D) && mkdir -p $(@D)/learn/neck $(@D)/learn/trunk $(@D)/dev/neck $(@D)/dev/trunk
	while read -r set name; do \
		case $$set in learn|dev) ;; *) continue;; esac; \
		case $$name in neck/*) part=neck;; *) part=trunk;; esac; \
		ln -s $(abspath $(CASES))/$$name.nii.gz $(abspath $(CASES))/$$name.lml $(@D)/$$set/$$part/ || exit 1; \
	done < $(CASES)/SPLIT
	$(VERTEBRAE) gen-phantom $(@D)/learn/phantoms --cohort hospital --voxel 2 --scans 60 --seed 501
	$(VERTEBRAE) gen-phantom $(@D)/learn/phantoms --cohort hospital --voxel 2 --scans 180 --seed 502
	@touch $@

# All scans, dev among them, and the phantoms.
$(MODEL_WORK)/spines/all/.done: $(MODEL_WORK)/spines/.done
	mkdir -p $(@D)/neck $(@D)/trunk && ln -sfn ../learn/phantoms $(@D)/phantoms
	for part in neck trunk; do cp -P $(MODEL_WORK)/spines/learn/$$part/* $(MODEL_WORK)/spines/dev/$$part/* $(@D)/$$part/ || exit 1; done
	@touch $@

LOG := --logs $(MODEL_WORK)/logs --checkpoints $(MODEL_WORK)/checkpoints

$(MODEL_WORK)/phantom-bodies.safetensors: $(MODEL_WORK)/spines/.done
	$(VERTEBRAE) train-bodies $(<D)/learn/phantoms $(<D)/dev $@ $(PHANTOM_BODIES) \
		--checkpoints $(MODEL_WORK)/checkpoints/phantom-bodies --logs $(MODEL_WORK)/logs

$(MODEL_WORK)/phantom-whole.safetensors: $(MODEL_WORK)/spines/.done
	$(VERTEBRAE) train-names $(<D)/learn/phantoms $(<D)/dev $@ --whole $(PHANTOM_WHOLE) \
		--checkpoints $(MODEL_WORK)/checkpoints/phantom-whole --logs $(MODEL_WORK)/logs

# What learns goes on a little more slowly; the half-way networks are kept for those that learn from more.
$(MODEL_WORK)/learned/first-bodies.safetensors: $(MODEL_WORK)/phantom-bodies.safetensors
	$(VERTEBRAE) train-bodies $(MODEL_WORK)/spines/learn $(MODEL_WORK)/spines/dev $@ --half --start $< $(BODIES) $(LOG)

$(MODEL_WORK)/learned/models/bodies.safetensors: $(MODEL_WORK)/learned/first-bodies.safetensors
	$(VERTEBRAE) train-bodies $(MODEL_WORK)/spines/learn $(MODEL_WORK)/spines/dev $@ --half --start $< $(MORE_BODIES) $(LOG)-more

bodies: $(MODEL_WORK)/learned/first-bodies.safetensors $(MODEL_WORK)/spines/all/.done
	$(VERTEBRAE) train-bodies $(MODEL_WORK)/spines/all $(MODEL_WORK)/spines/dev $(MODEL_WORK)/all-bodies.safetensors \
		--half --start $< $(ALL_BODIES) $(LOG)
	$(VERTEBRAE) train-bodies $(MODEL_WORK)/spines/all $(MODEL_WORK)/spines/dev saved_models/bodies.safetensors \
		--half --start $(MODEL_WORK)/all-bodies.safetensors $(MORE_BODIES) $(LOG)-more

# Names learned without the dev scans, to be measured on them.
$(MODEL_WORK)/learned/models/names.safetensors: $(MODEL_WORK)/spines/.done
	$(VERTEBRAE) train-names $(<D)/learn $(<D)/dev $@ --half $(NAMES) $(LOG)/learned

$(MODEL_WORK)/learned/models/names-whole.safetensors: $(MODEL_WORK)/phantom-whole.safetensors
	$(VERTEBRAE) train-names $(MODEL_WORK)/spines/learn $(MODEL_WORK)/spines/dev $@ --half --start $< $(WHOLE) $(LOG)/learned-whole

# What sees the whole spine goes on from the last fold's network, with all scans.
names: $(MODEL_WORK)/spines/all/.done $(FOLD)/4/models/names-whole.safetensors
	$(VERTEBRAE) train-names $(<D) $(MODEL_WORK)/spines/dev saved_models/names.safetensors --half $(ALL_NAMES) $(LOG)/all
	$(VERTEBRAE) train-names $(<D) $(MODEL_WORK)/spines/dev saved_models/names-whole.safetensors --half \
		--start $(FOLD)/4/models/names-whole.safetensors $(ALL_WHOLE) $(LOG)/all-whole

# Five folds, each over necks and trunks in the order of their names. All networks have seen phantoms, which all folds
# share, and learn from four fifths of the scans; what they say of the last fifth is an honest figure, and what the chain is
# fitted to: that of a fold's own model to the other four folds, that of the shipped one to all.
$(FOLD)/.done: $(MODEL_WORK)/spines/.done
	rm -rf $(addprefix $(FOLD)/,$(FOLDS)) && mkdir -p $(foreach k,$(FOLDS),$(foreach s,learn held,$(FOLD)/$k/$s/neck $(FOLD)/$k/$s/trunk))
	n=0; t=0; sort -k2 $(CASES)/SPLIT | while read -r set name; do \
		case $$set in learn|dev) ;; *) continue;; esac; \
		case $$name in neck/*) part=neck; k=$$((n % 5)); n=$$((n + 1));; *) part=trunk; k=$$((t % 5)); t=$$((t + 1));; esac; \
		for f in $(FOLDS); do \
			if [ $$k = $$f ]; then s=held; else s=learn; fi; \
			ln -s $(abspath $(CASES))/$$name.nii.gz $(abspath $(CASES))/$$name.lml $(FOLD)/$$f/$$s/$$part/ || exit 1; \
		done; \
	done
	for f in $(FOLDS); do ln -s $(abspath $(MODEL_WORK))/spines/learn/phantoms $(FOLD)/$$f/learn/phantoms || exit 1; done
	@touch $@

$(FOLD)/%/models/bodies.safetensors: $(MODEL_WORK)/phantom-bodies.safetensors $(FOLD)/.done
	$(VERTEBRAE) train-bodies $(FOLD)/$*/learn $(FOLD)/$*/held $(FOLD)/$*/first-bodies.safetensors --half --start $< $(BODIES) \
		--checkpoints $(FOLD)/$*/checkpoints --logs $(MODEL_WORK)/logs
	$(VERTEBRAE) train-bodies $(FOLD)/$*/learn $(FOLD)/$*/held $@ --half --start $(FOLD)/$*/first-bodies.safetensors \
		$(MORE_BODIES) --checkpoints $(FOLD)/$*/checkpoints-more --logs $(MODEL_WORK)/logs

$(FOLD)/%/models/names.safetensors: $(FOLD)/.done
	$(VERTEBRAE) train-names $(FOLD)/$*/learn $(FOLD)/$*/held $@ --half $(NAMES) \
		--checkpoints $(FOLD)/$*/checkpoints --logs $(MODEL_WORK)/logs

$(FOLD)/%/models/names-whole.safetensors: $(MODEL_WORK)/phantom-whole.safetensors $(FOLD)/.done
	$(VERTEBRAE) train-names $(FOLD)/$*/learn $(FOLD)/$*/held $@ --half --start $< $(WHOLE) \
		--checkpoints $(FOLD)/$*/checkpoints-whole --logs $(MODEL_WORK)/logs

folds: $(foreach k,$(FOLDS),$(foreach n,bodies names names-whole,$(FOLD)/$k/models/$n.safetensors))
	for f in $(FOLDS); do ln -sf $(abspath saved_models/course.safetensors) $(FOLD)/$$f/models/ || exit 1; done
	for f in $(FOLDS); do \
		others=$$(for k in $(FOLDS); do [ $$k = $$f ] || echo "--fold $(FOLD)/$$k/held $(FOLD)/$$k/models"; done); \
		$(VERTEBRAE) train-chain $(FOLD)/$$f/models/names.safetensors $$others && rm -rf $(FOLD)/$$f/found && \
		$(VERTEBRAE) predict $(FOLD)/$$f/held --models $(FOLD)/$$f/models --output $(FOLD)/$$f/found --quiet || exit 1; \
	done
	$(VERTEBRAE) accuracy $(foreach k,$(FOLDS),$(FOLD)/$k/found)

# What the shipped names are worth, from the folds.
chain: folds
	$(VERTEBRAE) train-chain saved_models/names.safetensors $(foreach k,$(FOLDS),--fold $(FOLD)/$k/held $(FOLD)/$k/models)

models: course bodies names chain

# The tables of docs/accuracy.md: the folds, the dev scans by networks that have not learned from them, unseen phantoms.
accuracy: folds $(foreach m,bodies names names-whole,$(MODEL_WORK)/learned/models/$m.safetensors)
	ln -sf $(abspath saved_models)/course.safetensors $(MODEL_WORK)/learned/models/
	$(VERTEBRAE) train-chain $(MODEL_WORK)/learned/models/names.safetensors $(foreach k,$(FOLDS),--fold $(FOLD)/$k/held $(FOLD)/$k/models)
	rm -rf $(MODEL_WORK)/accuracy && mkdir -p $(MODEL_WORK)/accuracy
	$(VERTEBRAE) gen-phantom $(MODEL_WORK)/unseen --cohort hospital --voxel 2 --scans 40 --seed 4040
	$(VERTEBRAE) predict $(MODEL_WORK)/spines/dev --models $(MODEL_WORK)/learned/models --output $(MODEL_WORK)/accuracy/dev --quiet
	$(VERTEBRAE) predict $(MODEL_WORK)/unseen --output $(MODEL_WORK)/accuracy/unseen --quiet
	$(VERTEBRAE) accuracy $(MODEL_WORK)/accuracy/dev
	$(VERTEBRAE) accuracy $(MODEL_WORK)/accuracy/unseen

clean-demo:
	rm -rf demo

# One static file a system, which runs on any Linux: `pip install cargo-zigbuild ziglang` brings the linker and the C compiler,
# `rustup target add` the targets. Completions and manual pages are printed by the program of this machine.
TARGETS ?= x86_64-unknown-linux-musl aarch64-unknown-linux-musl
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

dist: $(foreach t,$(TARGETS),dist/vertebrae-$(VERSION)-$t.tar.gz)
	cd dist && sha256sum *.tar.gz $$(ls | grep whl$$) > SHA256SUMS

dist/vertebrae-$(VERSION)-%.tar.gz: $(VERTEBRAE)
	cargo zigbuild --locked --release --target $* --features built-in-models
	rm -rf dist/vertebrae-$* && mkdir -p dist/vertebrae-$*/completions dist/vertebrae-$*/man dist/vertebrae-$*/licences
	cp target/$*/release/vertebrae README.md CHANGELOG.md dist/vertebrae-$*/
	cp LICENSE-MIT LICENSE-APACHE assets/LICENSE-DejaVu dist/vertebrae-$*/licences/
	cp saved_models/README.md dist/vertebrae-$*/licences/models.md
	for shell in bash zsh fish; do $(VERTEBRAE) completions $$shell > dist/vertebrae-$*/completions/vertebrae.$$shell || exit 1; done
	$(VERTEBRAE) man > dist/vertebrae-$*/man/vertebrae.1
	for name in predict report convert measure accuracy; do \
		$(VERTEBRAE) man $$name > dist/vertebrae-$*/man/vertebrae-$$name.1 || exit 1; \
	done
	tar --sort=name --owner=0 --group=0 --numeric-owner -C dist -czf $@ vertebrae-$*

# `pip install maturin ziglang`; zig links against an old C library, so that the wheel runs where pip does.
MATURIN ?= maturin build --release --zig --compatibility manylinux2014
wheel:
	mkdir -p dist && cd python && $(MATURIN) --out ../dist

test:
	cargo test --release

ci:
	bash .ci/run
