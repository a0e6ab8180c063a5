#!/bin/sh
# From the model in the repository to pictures and maps. Argument: the built tool.
set -eu
aleat=$1
model=models/fashion
out=${DEMO_OUT:-demo}
cd "$(dirname "$0")/.."

if [ ! -d "$model" ]; then
    echo "demo: $model is missing: is this a complete checkout? (git status, git lfs pull)" >&2
    exit 1
fi
echo "demo: 20 images, two of each class, with the uncertainty of each" >&2
"$aleat" generate "$model" -n 20 --labels all --steps 50 --seed 1 --uncertainty --maps all \
    --keep-x0 -o "$out"
echo "demo: the same from the same noise, guided by the uncertainty" >&2
"$aleat" generate "$model" -n 20 --labels all --steps 50 --seed 1 --uncertainty --guide \
    --guide-steps 20:48 -o "$out/guided"
"$aleat" report "$out" --compare "$out/guided"
cat <<EOF

Look at:
  $out/report.html         a page for the browser: images, maps, steps, scores, and each image guided
  $out/contact.png         every image over its map, the surest first; light pixels are unsure
  $out/guided/contact.png  the same of the guided images
  $out/images/             the images; settings in the PNG text chunks
  $out/maps/               each map over its image and bare, one colour scale for all
  $out/scores.csv          one number for each image
EOF
