# The whole pipeline, stage by stage; a stage whose inputs have not changed is not run again.
#
#   make pipeline   the original's README on training_dataset and testing_dataset
#   make demo       the same on synthetic scans, in minutes
#   make models     the models in saved_models, as they were made (hours); REAL=DIR adds annotated scans
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

.PHONY: pipeline demo models test ci build clean-demo
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

# The models that come with the program: a network of whole volumes, taught on phantoms and then, if
# REAL names a folder, on phantoms and real scans. Each folder that directly holds scans is drawn from
# equally often, so REAL is best divided into a few. One network does both stages.
MODEL_WORK ?= models
REAL ?=
FINAL := $(if $(REAL),$(MODEL_WORK)/all,$(MODEL_WORK)/phantoms)
TEACH ?= --epochs 28 --patches 320 --batch-size 4 --learning-rate 0.003 --decay 0.0008 --momentum 0.98
TUNE ?= --epochs 7 --patches 240 --batch-size 4 --learning-rate 0.0015 --decay 0.003 --momentum 0.98 --frozen 3
FINISH ?= --epochs 10 --patches 240 --batch-size 4 --learning-rate 0.001 --decay 0.003 --momentum 0.98 --frozen 1 --seed 7

$(MODEL_WORK)/phantoms/.done: | $(VERTEBRAE)
	$(VERTEBRAE) gen-phantom $(@D)/hospital --cohort hospital --voxel 3 --scans 360 --seed 5
	$(VERTEBRAE) gen-phantom $(@D)/healthy --voxel 2 --scans 160 --seed 6
	$(VERTEBRAE) gen-phantom $(MODEL_WORK)/check --cohort hospital --voxel 3 --scans 4 --seed 8
	$(if $(REAL),mkdir -p $(MODEL_WORK)/all && ln -sfn ../phantoms $(MODEL_WORK)/all/phantoms && \
		ln -sfn $(abspath $(REAL)) $(MODEL_WORK)/all/real)
	@touch $@

$(MODEL_WORK)/taught.safetensors: $(MODEL_WORK)/phantoms/.done
	$(VERTEBRAE) train-identification --arch volume $(<D) $(MODEL_WORK)/check $@ $(TEACH) \
		--checkpoints $(MODEL_WORK)/checkpoints --logs $(MODEL_WORK)/logs

$(MODEL_WORK)/tuned.safetensors: $(MODEL_WORK)/taught.safetensors
	$(VERTEBRAE) train-identification --arch volume $(FINAL) $(MODEL_WORK)/check $@ --start $< $(TUNE) \
		--half --checkpoints $(MODEL_WORK)/tuned --logs $(MODEL_WORK)/logs

models: $(MODEL_WORK)/tuned.safetensors
	$(VERTEBRAE) train-identification --arch volume $(FINAL) $(MODEL_WORK)/check saved_models/identification.safetensors \
		--start $< $(FINISH) --half --checkpoints $(MODEL_WORK)/finished --logs $(MODEL_WORK)/logs
	cp saved_models/identification.safetensors saved_models/detection.safetensors

clean-demo:
	rm -rf demo

test:
	cargo test --release

ci:
	bash .ci/run
