# `note.sh DIR KIND ARGS...`: cargo starts this in place of a test binary, or of rustdoc. It notes how: the working
# directory, the number of words, the words and the environment, each ended by a NUL.
_notes=$1
shift
{ printf '%s\0' "$PWD" "$#" "$@"; env -0; } >"$_notes/$$"
