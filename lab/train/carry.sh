#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a machine with a GPU needs to run the recipes where the environment cannot be made: bash lab/train/carry.sh FOLDER,
# in ./dev shell. FOLDER/asynclm-lab then runs on any Linux of this architecture (with --program), and FOLDER/python is for
# PYTHONPATH. PyTorch, numpy, tokenizers, yaml and matplotlib have to be there. The words come along: others make other data.
set -eu
program=build/release/asynclm-lab folder=${1:?the folder to write}
[ -x $program ] || { echo "$program is missing: ./dev build release makes it" >&2; exit 1; }
mkdir -p "$folder/lib" "$folder/python"
cp -L $(ldd $program | grep -o '/[^ ]*') "$folder/lib/"
cp $program "$folder/lib/asynclm-lab"
cp /usr/share/dict/words "$folder/words"
cp -r /usr/lib/python3/dist-packages/gguf "$folder/python/"
loader=$(ldd $program | sed -n 's:.*/\(ld-[^ ]*\) .*:\1:p')
cat >"$folder/asynclm-lab" <<EOF
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")
[ "\$1" != dataset ] || set -- "\$@" --words "\$here/words"
exec "\$here/lib/$loader" --library-path "\$here/lib" "\$here/lib/asynclm-lab" "\$@"
EOF
chmod +x "$folder/asynclm-lab"
