# fish completion of bgresp, printed by `bgresp completions fish`. Ids, names, groups,
# labels and profiles come from a file that bgresp keeps beside its ledger; reading it
# starts awk and nothing else. Made from the program: do not edit.

# Succeed when the command that is typed is one of these.
function __bgresp_at
    set -l path
    for word in (commandline -opc)[2..]
        if not string match -q -- '-*' $word
            set -l longer (string join ' ' $path $word)
            contains -- $longer $__bgresp_commands; or break
            set path $longer
        end
    end
    contains -- "$path" $argv
end

# Print what was typed of a value, without the option before it.
function __bgresp_typed
    string replace -r -- '^--[a-z-]+=' '' (commandline -ct)
end

# Print the words of KINDS, newest first, each with what it is; more words go before.
function __bgresp_index -a kinds
    set -l state "$BGRESP_STATE_DIR"
    if string match -q -- '~/*' "$state"
        set state $HOME/(string sub -s 3 -- $state)
    else if test -z "$state"; and string match -q -- '/*' "$XDG_STATE_HOME"
        set state $XDG_STATE_HOME/bgresp
    else if test -z "$state"; and test -d $HOME/Library
        set state "$HOME/Library/Application Support/bgresp"
    else if test -z "$state"
        set state $HOME/.local/state/bgresp
    end
    # Only plain words narrow the search: fish itself sorts out the rest.
    set -l typed (string match -r -- '^[\w.:@/+][\w.:@/+-]*$' (__bgresp_typed))
    set -l files
    for file in $state/index/profiles $state/index/words
        test -r $file; and set -a files $file
    end
    string join \n -- $argv[2..]
    test -n "$files"; or return
    LC_ALL=C _BGRESP_KINDS=$kinds _BGRESP_PREFIX="$typed" awk '
@AWK@' $files 2>/dev/null
end

function __bgresp_ref
    __bgresp_index in @last\t'the newest job'
end
function __bgresp_key
    __bgresp_index u
end
function __bgresp_profile
    __bgresp_index p (printf '%s\tbuilt in\n' @BUILT_IN@)
end
function __bgresp_group
    __bgresp_index g
end
function __bgresp_label
    __bgresp_index l
end
function __bgresp_model
    __bgresp_index m
end

# Print words; the tab keeps fish from saying of each what its option says.
function __bgresp_words
    printf '%s\t\n' $argv
end

# Print words for a list with commas, each after what stands there already.
function __bgresp_list
    set -l before (string match -r -- '^.*,' (__bgresp_typed))
    __bgresp_words "$before"$argv
end

# Print files after an @.
function __bgresp_atfile
    set -l typed (__bgresp_typed)
    string match -q -- '@*' "$typed"; or return
    __fish_complete_path (string sub -s 2 -- $typed) | string replace -r '^' @
end

complete -c bgresp -e
complete -c bgresp -f
@TABLE@
