# bash completion of bgresp (bash 4.4 or later), printed by `bgresp completions bash`.
# Ids, names, groups, labels and profiles come from a file that bgresp keeps beside its
# ledger; reading it starts awk and nothing else. Made from the program: do not edit.

# Say what a command takes: `commands`, `argument`, and `options` as NAME or NAME=KIND.
_bgresp_command() {
  commands='' argument=free
  case $1 in
@TABLE@
  esac
}

# Set `found` to the words of KINDS that begin so, newest first, one a line. Of more
# than 100 also the first and the last of the alphabet: what all begin with stays true.
_bgresp_index() {
  local state=${BGRESP_STATE_DIR-} file files=()
  found=
  if [[ $state == '~'/* ]]; then
    state=$HOME/${state:2}
  elif [[ ! $state && ${XDG_STATE_HOME-} == /* ]]; then
    state=$XDG_STATE_HOME/bgresp
  elif [[ ! $state && $OSTYPE == darwin* ]]; then
    state="$HOME/Library/Application Support/bgresp"
  elif [[ ! $state ]]; then
    state=$HOME/.local/state/bgresp
  fi
  for file in "$state/index/profiles" "$state/index/words"; do
    [[ ! -r $file ]] || files+=("$file")
  done
  ((${#files[@]})) || return 0
  found=$(LC_ALL=C _BGRESP_KINDS=$1 _BGRESP_PREFIX=$2 awk '
@AWK@' "${files[@]}" 2>/dev/null)
}

# Set `plain` to what was typed without its quotes, and `quote` to the open one.
_bgresp_unquoted() {
  local typed=$1
  plain='' quote=''
  case $typed in
    \'*) quote=\' plain=${typed:1}; return ;;
    \"*) quote=\" typed=${typed:1} ;;
  esac
  while [[ $typed == *\\* ]]; do
    plain+=${typed%%\\*} typed=${typed#*\\}
    plain+=${typed:0:1} typed=${typed:1}
  done
  plain+=$typed
}

# Offer words that begin so, each quoted as the shell needs it, after `$lead`.
_bgresp_offer() {
  local word plain quote
  _bgresp_unquoted "$1"
  shift
  for word; do
    [[ $word && $word == "$plain"* ]] || continue
    case $quote in
      \') word=${word//\'/\'\\\'\'} ;;
      \") word=${word//\\/\\\\} word=${word//\"/\\\"} word=${word//\$/\\\$}
        word=${word//\`/\\\`} word=${word//\!/\"\'!\'\"} ;;
      *) [[ $word != *[!A-Za-z0-9_.,/@:=+%-]* ]] || printf -v word %q "$word"
        word=$lead$word ;;
    esac
    COMPREPLY+=("$word")
  done
}

# Set `kind` to what an option takes; a flag takes nothing.
_bgresp_kind() {
  kind=''
  if [[ " $options " == *" $1="* ]]; then
    kind=" $options " kind=${kind#*" $1="} kind=${kind%% *}
  fi
}

# Offer what a value of KIND can be, where `$2` was typed of it.
_bgresp_value() {
  local found plain quote word lead=$lead typed=$2 IFS=$' \t\n' offered=()
  case $1 in
    file) compopt -o default 2>/dev/null ;;
    folder) compopt -o dirnames 2>/dev/null ;;
    atfile)
      [[ $typed == @* ]] || return 0
      lead+=@ typed=${typed:1}
      _bgresp_unquoted "$typed"
      for word in "$plain"*; do
        [[ ! -d $word ]] || { word+=/; compopt -o nospace 2>/dev/null; }
        [[ ! -e $word ]] || offered+=("$word")
      done
      _bgresp_offer "$typed" "${offered[@]}" ;;
    words:*) IFS=,; set -- ${1#words:}; _bgresp_offer "$typed" "$@" ;;
    list:*)
      if [[ $typed == *,* ]]; then lead+=${typed%,*}, typed=${typed##*,}; fi
      IFS=,; set -- ${1#list:}; _bgresp_offer "$typed" "$@" ;;
    index:*)
      _bgresp_unquoted "$typed"
      _bgresp_index "${1#index:}" "$plain"
      [[ $1 != index:i* ]] || offered=(@last)
      local -
      set -f
      IFS=$'\n'
      found=($found)
      offered+=("${found[@]%%$'\t'*}")
      [[ $1 != index:p ]] || offered+=(@BUILT_IN@)
      _bgresp_offer "$typed" "${offered[@]}" ;;
  esac
}

_bgresp() {
  COMPREPLY=()
  local IFS=$' \t\n' rest=${COMP_LINE:0:COMP_POINT} lead='' kind='' path='' ended=''
  local commands argument options words=() at blank piece
  # The words as the program will see them: bash has cut them at = : and @ too.
  for ((at = 0; at <= COMP_CWORD; at++)); do
    blank=${rest%%[![:space:]]*} rest=${rest#"${rest%%[![:space:]]*}"}
    piece=${COMP_WORDS[at]}
    ((at < COMP_CWORD)) || piece=$rest
    rest=${rest#"$piece"}
    if [[ $blank ]] || ((at == 0)); then words+=("$piece"); else words[-1]+=$piece; fi
  done
  _bgresp_command ''
  for piece in "${words[@]:1:${#words[@]}-2}"; do
    if [[ $kind ]]; then
      kind=''
    elif [[ ! $ended && $piece == -- ]]; then
      ended=1
    elif [[ ! $ended && $piece == -* ]]; then
      _bgresp_kind "$piece"
    elif [[ " $commands " == *" $piece "* ]]; then
      path+=${path:+ }$piece
      _bgresp_command "$path"
    fi
  done
  piece=${words[-1]}
  if [[ $kind ]]; then
    _bgresp_value "$kind" "$piece"
  elif [[ ! $ended && $piece == --*=* ]]; then
    _bgresp_kind "${piece%%=*}"
    lead=${piece%%=*}=
    _bgresp_value "$kind" "${piece#*=}"
  elif [[ ! $ended && $piece == -* ]]; then
    words=($options)
    _bgresp_offer "$piece" "${words[@]%%=*}"
  elif [[ $commands ]]; then
    _bgresp_offer "$piece" $commands
  else
    _bgresp_value "$argument" "$piece"
  fi
  # What bash has cut off stays where it is; of the cuts, an @ belongs to what follows.
  piece=${piece%"${piece##*[$COMP_WORDBREAKS]}"} piece=${piece%@}
  [[ $piece == *[\'\"\\]* ]] || COMPREPLY=("${COMPREPLY[@]#"$piece"}")
}

complete -o nosort -F _bgresp bgresp
