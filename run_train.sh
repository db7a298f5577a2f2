#!/bin/sh
# Set everything up on a machine that has only a Python 3.9 to 3.12, and fine-tune.
#
#   sh run_train.sh [OPTION...]
#
# These are the options that you are likeliest to change; what you give on the command line wins over them, and
# `mxml train --help` lists the rest.
set -eu
root=$(dirname "$0")

# pretrained network: PREFIX-symbol.json and PREFIX-0000.params
model=$root/models/sample
epoch=0
# lists, and the folder that their images are in
data_train=$root/lists/train.lst
image_train=$root/images
data_val=$root/lists/val.lst
image_val=$root/images
num_classes=8
image_shape=3,96,96
# training
batch_size=32
lr=0.02
num_epoch=20
# where the checkpoints go
prefix=model

. "$root/scripts/environment.sh"

python=$(find_python) || exit 1
choice=$(PYTHONPATH=$root "$python" -c 'from mxml.runtime.gpus import choose_extra; print(*choose_extra())') || exit 1
extra=${choice%% *}
say "mxml: ${choice#* }"
[ "$extra" != none ] || exit 1
install "$extra" "$extra" || exit 1

own_place='' resuming=''
for option in "$@"; do
    case $option in
        --prefix | --prefix=* | --save-name | --save-name=* | --save-result | --save-result=*) own_place=yes ;;
        --resume) resuming=yes ;;
    esac
done
# A resumed run keeps the settings that it began with.
if [ -z "$resuming" ]; then
    set -- --model "$model" --epoch "$epoch" --data-train "$data_train" --image-train "$image_train" \
        --data-val "$data_val" --image-val "$image_val" --num-classes "$num_classes" --image-shape "$image_shape" \
        --batch-size "$batch_size" --lr "$lr" --num-epoch "$num_epoch" "$@"
    # The sample's own checkpoint may be replaced by the next run; a prefix that you name yourself is not.
    [ -n "$own_place" ] || set -- --force "$@"
fi
[ -n "$own_place" ] || set -- --prefix "$prefix" "$@"

"$venv/bin/mxml" train "$@"
echo "to use mxml in this shell: . $venv/bin/activate"
