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
function put(line) { word = line; sub(/\t.*/, "", word)
  if (!(word in seen)) { seen[word]; print line } }
BEGIN { prefix = ENVIRON["_BGRESP_PREFIX"]; kinds = ENVIRON["_BGRESP_KINDS"]
  size = length(prefix); most = 100 }
substr($0, 4, size) == prefix && index(kinds, substr($0, 2, 1)) {
  last[++count % most] = line = substr($0, 4)
  if (line > high) high = line
  if (line < low || count == 1) low = line }
END { for (at = count; at > 0 && at > count - most; at--) put(last[at % most])
  if (count > most) { put(low); put(high) } }' $files 2>/dev/null
end

function __bgresp_ref
    __bgresp_index in @last\t'the newest job'
end
function __bgresp_key
    __bgresp_index u
end
function __bgresp_profile
    __bgresp_index p (printf '%s\tbuilt in\n' azure azure-dated azure-entra bedrock databricks fastresponses freddy freddy-key gemini litellm local mka1 ogx openai perplexity sail sglang vllm xai-deferred yandex)
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
set -g __bgresp_commands 'batch' 'cancel' 'completions' 'config' 'config add' 'config edit' 'config init' 'config list' 'config path' 'config remove' 'config show' 'config trust' 'config use' 'doctor' 'forget' 'get' 'help' 'import' 'list' 'listen' 'models' 'prune' 'resolve' 'retry' 'serve' 'show' 'stats' 'status' 'submit' 'sync' 'wait' 'watch'
complete -c bgresp -n '__bgresp_at ""' -a batch -d 'Submit a background response for each row of a manifest; print the ids in order.'
complete -c bgresp -n '__bgresp_at ""' -a cancel -d 'Cancel jobs; then ask the endpoint and report what really became of them.'
complete -c bgresp -n '__bgresp_at ""' -a completions -d 'Print the completion script of a shell.'
complete -c bgresp -n '__bgresp_at ""' -a config -d 'Show, make and check the configuration: list, add, use, show, edit and more.'
complete -c bgresp -n '__bgresp_at ""' -a doctor -d 'Check configuration, ledger, locks and clock; or probe an endpoint.'
complete -c bgresp -n '__bgresp_at ""' -a forget -d 'Drop jobs and their answers from the ledger and the disk.'
complete -c bgresp -n '__bgresp_at ""' -a get -d 'Print answers: from disk where they are saved, else from the endpoint.'
complete -c bgresp -n '__bgresp_at ""' -a help -d 'Explain a command or a topic.'
complete -c bgresp -n '__bgresp_at ""' -a import -d 'Add ids from elsewhere to the ledger; -p says which endpoint has them.'
complete -c bgresp -n '__bgresp_at ""' -a list -d 'List the jobs of the ledger, newest first; asks no endpoint.'
complete -c bgresp -n '__bgresp_at ""' -a listen -d 'Receive signed webhooks, and fetch the jobs that they name.'
complete -c bgresp -n '__bgresp_at ""' -a models -d 'List the models of an endpoint, where it lists them; it costs nothing.'
complete -c bgresp -n '__bgresp_at ""' -a prune -d 'Drop jobs that ended long ago, with their answers, and tidy the ledger.'
complete -c bgresp -n '__bgresp_at ""' -a resolve -d 'Settle a submit whose outcome is unknown.'
complete -c bgresp -n '__bgresp_at ""' -a retry -d 'Submit the stored request of a job again, as a new job at the same endpoint.'
complete -c bgresp -n '__bgresp_at ""' -a serve -d 'Run a background-mode endpoint on this machine.'
complete -c bgresp -n '__bgresp_at ""' -a show -d 'Show a job: what was asked, how it went, what it answered; asks no endpoint.'
complete -c bgresp -n '__bgresp_at ""' -a stats -d 'Count jobs, tokens, and how long they were queued and ran; asks no endpoint.'
complete -c bgresp -n '__bgresp_at ""' -a status -d 'Ask the endpoint once and print what it says.'
complete -c bgresp -n '__bgresp_at ""' -a submit -d 'Submit a background response for each FILE and print its id.'
complete -c bgresp -n '__bgresp_at ""' -a sync -d 'Ask once about every open job, save every result, and leave.'
complete -c bgresp -n '__bgresp_at ""' -a wait -d 'Wait until jobs end, print nothing, exit as they ended.'
complete -c bgresp -n '__bgresp_at ""' -a watch -d 'Follow jobs until they end; of one job, its text as it comes.'
complete -c bgresp -n '__bgresp_at "config"' -a add -d 'Write a profile into a file of its own, profiles/NAME.toml.'
complete -c bgresp -n '__bgresp_at "config"' -a edit -d 'Open config.toml in $VISUAL or $EDITOR, and check it afterwards.'
complete -c bgresp -n '__bgresp_at "config"' -a init -d 'Write a config.toml that explains itself, where there is none.'
complete -c bgresp -n '__bgresp_at "config"' -a list -d 'List every profile: its endpoint, its file, and whether its key is set.'
complete -c bgresp -n '__bgresp_at "config"' -a path -d 'Print where config.toml, the profiles and the ledger\'s folder are.'
complete -c bgresp -n '__bgresp_at "config"' -a remove -d 'Remove a profile that `config add` made.'
complete -c bgresp -n '__bgresp_at "config"' -a show -d 'Print each value in effect and its origin; keys only as `set`.'
complete -c bgresp -n '__bgresp_at "config"' -a trust -d 'Let a profile\'s key be sent to a base URL that jobs in the ledger name.'
complete -c bgresp -n '__bgresp_at "config"' -a use -d 'Make a profile the default; it need not have its key yet.'
complete -c bgresp -n '__bgresp_at "" "batch" "cancel" "completions" "config add" "config edit" "config init" "config list" "config path" "config remove" "config show" "config trust" "config use" "doctor" "forget" "get" "help" "import" "list" "listen" "models" "prune" "resolve" "retry" "serve" "show" "stats" "status" "submit" "sync" "wait" "watch"' -s V -l version -d 'Print the version.'
complete -c bgresp -n '__bgresp_at "" "batch" "cancel" "completions" "config" "config add" "config edit" "config init" "config list" "config path" "config remove" "config show" "config trust" "config use" "doctor" "forget" "get" "help" "import" "list" "listen" "models" "prune" "resolve" "retry" "serve" "show" "stats" "status" "submit" "sync" "wait" "watch"' -s h -l help -d 'Show the help of this command.'
complete -c bgresp -n '__bgresp_at "batch"' -l csv -d 'Read it as CSV, whatever its name.'
complete -c bgresp -n '__bgresp_at "batch"' -l prompt -x -a '(__bgresp_atfile)' -d 'The prompt of each row, with its fields: {{column}}.'
complete -c bgresp -n '__bgresp_at "batch"' -l id -x -d 'The field that names a row (id); row: its number.'
complete -c bgresp -n '__bgresp_at "batch"' -l group -x -a '(__bgresp_group)' -d 'The group of its jobs; else the manifest\'s name.'
complete -c bgresp -n '__bgresp_at "batch"' -s l -l label -x -a '(__bgresp_label)' -d 'A label for each row (repeat).'
complete -c bgresp -n '__bgresp_at "batch"' -l shard -x -d 'Only the Ith of N parts.'
complete -c bgresp -n '__bgresp_at "batch"' -l limit -x -d 'Submit N rows at most.'
complete -c bgresp -n '__bgresp_at "batch"' -l in-flight -x -d 'N rows at once; with --wait until they end.'
complete -c bgresp -n '__bgresp_at "batch"' -l rate -x -d 'Submit at most so fast: 30/m, 2/s.'
complete -c bgresp -n '__bgresp_at "batch"' -l max-failures -x -d 'Stop after N rows failed.'
complete -c bgresp -n '__bgresp_at "batch"' -l changed -x -d 'Of a row whose request is another now: refuse, resubmit or skip.'
complete -c bgresp -n '__bgresp_at "batch"' -l retry-failed -d 'Submit rows again that did not complete.'
complete -c bgresp -n '__bgresp_at "batch"' -l wait -d 'Wait until every row has ended.'
complete -c bgresp -n '__bgresp_at "batch"' -l results -r -F -d 'Wait; append a line a row to FILE.'
complete -c bgresp -n '__bgresp_at "batch"' -l out-dir -x -a '(__fish_complete_directories)' -d 'Wait; write a file a row into DIR.'
complete -c bgresp -n '__bgresp_at "batch"' -l allow-empty -d 'A manifest without rows is no error.'
complete -c bgresp -n '__bgresp_at "batch"' -l dry-run -d 'Check and count; send nothing.'
complete -c bgresp -n '__bgresp_at "batch"' -l allow-outside -d 'Let rows name files beyond MANIFEST\'s folder.'
complete -c bgresp -n '__bgresp_at "batch"' -l no-keep-prompt -d 'Keep no copy of the requests.'
complete -c bgresp -n '__bgresp_at "batch"' -l expect -x -d 'How long a row is expected to take.'
complete -c bgresp -n '__bgresp_at "batch"' -l stream -l no-stream -d 'Create them streamable.'
complete -c bgresp -n '__bgresp_at "batch" "listen" "submit" "sync" "wait" "watch"' -l notify -x -d 'Run CMD, or ring the bell, for each job that ends.'
complete -c bgresp -n '__bgresp_at "batch" "submit"' -s m -l model -x -a '(__bgresp_model)' -d 'The model.'
complete -c bgresp -n '__bgresp_at "batch" "submit"' -s s -l system -x -a '(__bgresp_atfile)' -d 'Instructions.'
complete -c bgresp -n '__bgresp_at "batch" "submit"' -l attach -r -F -d 'A file or image (repeat).'
complete -c bgresp -n '__bgresp_at "batch" "submit"' -l var -x -d 'Fill {{K}} in the texts (repeat).'
complete -c bgresp -n '__bgresp_at "batch" "submit"' -l schema -x -a '(__bgresp_atfile)' -d 'Ask for JSON of this schema.'
complete -c bgresp -n '__bgresp_at "batch" "submit"' -l tool -x -d 'A tool it may use (repeat).'
complete -c bgresp -n '__bgresp_at "batch" "submit"' -l max-output-tokens -x -d 'End the answer after N tokens.'
complete -c bgresp -n '__bgresp_at "batch" "submit"' -l previous -x -a '(__bgresp_ref)' -d 'Continue from an earlier job.'
complete -c bgresp -n '__bgresp_at "batch" "submit"' -l metadata -x -d 'Metadata for the endpoint (repeat).'
complete -c bgresp -n '__bgresp_at "batch" "submit"' -l body -x -a '(__bgresp_atfile)' -d 'The raw request body.'
complete -c bgresp -n '__bgresp_at "batch" "submit"' -l set -x -d 'Set a field of the body (repeat).'
complete -c bgresp -n '__bgresp_at "batch" "submit"' -l webhook-url -x -d 'Let the endpoint notify URL of the end.'
complete -c bgresp -n '__bgresp_at "batch" "submit"' -l webhook-secret-env -x -d 'The variable with the webhook\'s secret.'
complete -c bgresp -n '__bgresp_at "batch" "cancel" "completions" "config add" "config edit" "config init" "config list" "config path" "config remove" "config show" "config trust" "config use" "doctor" "forget" "get" "help" "import" "list" "listen" "models" "prune" "resolve" "retry" "serve" "show" "stats" "status" "submit" "sync" "wait" "watch"' -s p -l profile -x -a '(__bgresp_profile)' -d 'The profile to use.'
complete -c bgresp -n '__bgresp_at "batch" "cancel" "completions" "config add" "config edit" "config init" "config list" "config path" "config remove" "config show" "config trust" "config use" "doctor" "forget" "get" "help" "import" "list" "listen" "models" "prune" "resolve" "retry" "serve" "show" "stats" "status" "submit" "sync" "wait" "watch"' -l base-url -x -d 'Its base URL.'
complete -c bgresp -n '__bgresp_at "batch" "cancel" "completions" "config add" "config edit" "config init" "config list" "config path" "config remove" "config show" "config trust" "config use" "doctor" "forget" "get" "help" "import" "list" "listen" "models" "prune" "resolve" "retry" "serve" "show" "stats" "status" "submit" "sync" "wait" "watch"' -s H -l header -x -d 'Send this header, too (repeat).'
complete -c bgresp -n '__bgresp_at "batch" "cancel" "completions" "config add" "config edit" "config init" "config list" "config path" "config remove" "config show" "config trust" "config use" "doctor" "forget" "get" "help" "import" "list" "listen" "models" "prune" "resolve" "retry" "serve" "show" "stats" "status" "submit" "sync" "wait" "watch"' -l allow-http -d 'Let a key be sent over http://.'
complete -c bgresp -n '__bgresp_at "batch" "cancel" "completions" "config add" "config edit" "config init" "config list" "config path" "config remove" "config show" "config trust" "config use" "doctor" "forget" "get" "help" "import" "list" "listen" "models" "prune" "resolve" "retry" "serve" "show" "stats" "status" "submit" "sync" "wait" "watch"' -l json -d 'Print JSON.'
complete -c bgresp -n '__bgresp_at "batch" "cancel" "completions" "config add" "config edit" "config init" "config list" "config path" "config remove" "config show" "config trust" "config use" "doctor" "forget" "get" "help" "import" "list" "listen" "models" "prune" "resolve" "retry" "serve" "show" "stats" "status" "submit" "sync" "wait" "watch"' -l jsonl -d 'Print JSON, an object a line.'
complete -c bgresp -n '__bgresp_at "batch" "cancel" "completions" "config add" "config edit" "config init" "config list" "config path" "config remove" "config show" "config trust" "config use" "doctor" "forget" "get" "help" "import" "list" "listen" "models" "prune" "resolve" "retry" "serve" "show" "stats" "status" "submit" "sync" "wait" "watch"' -l fields -x -a '(__bgresp_list age base_url calls checked_at cost created_at cursor ended_with error exit_code expires expires_at finished finished_at group id incomplete_reason key labels last_error model model_asked name output_path previous_id profile queue raw_status reason refusal request_sha256 retry_of row run schema started status submit_key submitted_at text tokens tokens_cached tokens_in tokens_out tokens_reasoning took took_exact usage)' -d 'Only these fields.'
complete -c bgresp -n '__bgresp_at "batch" "cancel" "completions" "config add" "config edit" "config init" "config list" "config path" "config remove" "config show" "config trust" "config use" "doctor" "forget" "get" "help" "import" "list" "listen" "models" "prune" "resolve" "retry" "serve" "show" "stats" "status" "submit" "sync" "wait" "watch"' -s q -l quiet -d 'Print ids only.'
complete -c bgresp -n '__bgresp_at "batch" "cancel" "completions" "config add" "config edit" "config init" "config list" "config path" "config remove" "config show" "config trust" "config use" "doctor" "forget" "get" "help" "import" "list" "listen" "models" "prune" "resolve" "retry" "serve" "show" "stats" "status" "submit" "sync" "wait" "watch"' -s v -l verbose -d 'Say more.'
complete -c bgresp -n '__bgresp_at "batch" "cancel" "completions" "config add" "config edit" "config init" "config list" "config path" "config remove" "config show" "config trust" "config use" "doctor" "forget" "get" "help" "import" "list" "listen" "models" "prune" "resolve" "retry" "serve" "show" "stats" "status" "submit" "sync" "wait" "watch"' -l color -x -a '(__bgresp_words auto always never)' -d 'auto, always or never.'
complete -c bgresp -n '__bgresp_at "batch" "cancel" "completions" "config add" "config edit" "config init" "config list" "config path" "config remove" "config show" "config trust" "config use" "doctor" "forget" "get" "help" "import" "list" "listen" "models" "prune" "resolve" "retry" "serve" "show" "stats" "status" "submit" "sync" "wait" "watch"' -l no-progress -d 'No animation.'
complete -c bgresp -n '__bgresp_at "cancel" "forget" "get" "list" "listen" "prune" "retry" "show" "stats" "status" "sync" "wait" "watch"' -l group -x -a '(__bgresp_group)' -d 'Jobs of a group.'
complete -c bgresp -n '__bgresp_at "cancel" "forget" "get" "list" "listen" "prune" "retry" "show" "stats" "status" "sync" "wait" "watch"' -s l -l label -x -a '(__bgresp_label)' -d 'Jobs with a label (repeat: with all).'
complete -c bgresp -n '__bgresp_at "cancel" "forget" "get" "list" "listen" "prune" "retry" "show" "stats" "status" "sync" "wait" "watch"' -l status -x -a '(__bgresp_list submitting unknown rejected queued in_progress completed incomplete cancelled failed lost open ended)' -d 'Jobs in a status.'
complete -c bgresp -n '__bgresp_at "cancel" "forget" "get" "list" "listen" "prune" "retry" "show" "stats" "status" "sync" "wait" "watch"' -l since -x -d 'Submitted since T.'
complete -c bgresp -n '__bgresp_at "cancel" "forget" "get" "list" "listen" "prune" "retry" "show" "stats" "status" "sync" "wait" "watch"' -l until -x -d 'Submitted before T.'
complete -c bgresp -n '__bgresp_at "cancel" "forget" "get" "list" "listen" "prune" "retry" "show" "stats" "status" "sync" "wait" "watch"' -l model -x -a '(__bgresp_model)' -d 'Jobs of a model.'
complete -c bgresp -n '__bgresp_at "cancel" "forget" "get" "list" "listen" "prune" "retry" "show" "stats" "status" "sync" "wait" "watch"' -l open -d 'Jobs that have not ended.'
complete -c bgresp -n '__bgresp_at "cancel" "forget" "get" "list" "listen" "prune" "retry" "show" "stats" "status" "sync" "wait" "watch"' -l all -d 'Every job.'
complete -c bgresp -n '__bgresp_at "cancel" "forget" "get" "list" "listen" "prune" "retry" "show" "stats" "status" "sync" "wait" "watch"' -l allow-empty -d 'Finding none is no error.'
complete -c bgresp -n '__bgresp_at "cancel" "forget" "prune"' -l yes -d 'Do not ask first.'
complete -c bgresp -n '__bgresp_at "cancel" "forget" "prune"' -l dry-run -d 'List the jobs; do nothing.'
complete -c bgresp -n '__bgresp_at "config add"' -l dialect -x -a '(__bgresp_words azure azure-dated azure-entra bedrock databricks fastresponses freddy freddy-key gemini litellm local mka1 ogx openai perplexity sail sglang vllm xai-deferred yandex)' -d 'The API that it speaks (openai).'
complete -c bgresp -n '__bgresp_at "config add"' -s m -l model -x -a '(__bgresp_model)' -d 'Its default model.'
complete -c bgresp -n '__bgresp_at "config add"' -l api-key-env -x -d 'The variable that has its key.'
complete -c bgresp -n '__bgresp_at "config add"' -l api-key-file -r -F -d 'Or the file that has it.'
complete -c bgresp -n '__bgresp_at "config add"' -l api-key-cmd -x -d 'Or a program that prints it.'
complete -c bgresp -n '__bgresp_at "config add"' -l stream -d 'Create its jobs streamable.'
complete -c bgresp -n '__bgresp_at "config add"' -l var -x -d 'A variable of its dialect (repeat).'
complete -c bgresp -n '__bgresp_at "config add"' -l exec -x -d 'Serve a program on this machine (dialect local).'
complete -c bgresp -n '__bgresp_at "config add" "serve"' -l exec-json -d 'Give CMD the whole request, as JSON.'
complete -c bgresp -n '__bgresp_at "config add"' -l upstream -x -d 'Serve a server on this machine (dialect local).'
complete -c bgresp -n '__bgresp_at "config add" "serve"' -l upstream-key-env -x -d 'Its key is in this variable.'
complete -c bgresp -n '__bgresp_at "config add" "serve"' -l upstream-api -x -a '(__bgresp_words responses chat)' -d 'The API that it speaks; else found out by asking.'
complete -c bgresp -n '__bgresp_at "config add"' -l force -d 'Replace a profile of this name.'
complete -c bgresp -n '__bgresp_at "doctor"' -l fix -d 'Make files private, restore records, set bad lines aside.'
complete -c bgresp -n '__bgresp_at "doctor"' -l probe -d 'Submit short jobs to see what the endpoint can do.'
complete -c bgresp -n '__bgresp_at "doctor"' -l yes -d 'Probe without asking first.'
complete -c bgresp -n '__bgresp_at "doctor"' -s m -l model -x -a '(__bgresp_model)' -d 'The model to probe with.'
complete -c bgresp -n '__bgresp_at "forget" "prune"' -l remote -d 'Delete them at the endpoint too.'
complete -c bgresp -n '__bgresp_at "forget" "prune"' -l force -d 'Drop open and unsettled jobs, too.'
complete -c bgresp -n '__bgresp_at "get"' -l part -x -a '(__bgresp_words text reasoning commentary citations tools refusal images files data usage error request raw)' -d 'text reasoning commentary citations tools refusal images files data usage error request raw.'
complete -c bgresp -n '__bgresp_at "get"' -s x -l extract -d 'Print only the first code block of the text.'
complete -c bgresp -n '__bgresp_at "get"' -l pretty -d 'Draw Markdown on a terminal; a pipe gets the text.'
complete -c bgresp -n '__bgresp_at "get"' -s o -l output -r -F -d 'Write it to FILE.'
complete -c bgresp -n '__bgresp_at "get"' -l out-dir -x -a '(__fish_complete_directories)' -d 'Write each to a file in DIR (or -o DIR/).'
complete -c bgresp -n '__bgresp_at "get" "submit" "watch"' -l force -d 'Let -o replace a file.'
complete -c bgresp -n '__bgresp_at "help"' -l man -d 'Print the man page of all commands, as roff.'
complete -c bgresp -n '__bgresp_at "import" "submit"' -s n -l name -x -d 'A name to find it by.'
complete -c bgresp -n '__bgresp_at "import" "submit"' -s l -l label -x -a '(__bgresp_label)' -d 'A label (repeat).'
complete -c bgresp -n '__bgresp_at "import" "submit"' -l group -x -a '(__bgresp_group)' -d 'A group to put it in.'
complete -c bgresp -n '__bgresp_at "import"' -l from -r -F -d 'What `list --jsonl` printed elsewhere.'
complete -c bgresp -n '__bgresp_at "list"' -l limit -x -d 'At most N jobs; 0 is every job.'
complete -c bgresp -n '__bgresp_at "list"' -l grep -x -d 'Jobs with this in name, prompt or answer.'
complete -c bgresp -n '__bgresp_at "list"' -l sort -x -a '(__bgresp_words age name status model took queue run tokens expires finished group profile)' -d 'Sort by age name status model took queue run tokens expires finished group profile.'
complete -c bgresp -n '__bgresp_at "list"' -l reverse -d 'Reverse the order.'
complete -c bgresp -n '__bgresp_at "list"' -l wide -d 'Show group, labels, profile, key, reason, too.'
complete -c bgresp -n '__bgresp_at "list"' -l time -x -a '(__bgresp_words relative local utc)' -d 'Times relative, local or utc (pipe: utc).'
complete -c bgresp -n '__bgresp_at "list"' -l timeline -d 'Draw queue and run times.'
complete -c bgresp -n '__bgresp_at "list"' -l refresh -d 'Ask the endpoints about open jobs first.'
complete -c bgresp -n '__bgresp_at "listen" "serve"' -l host -x -d 'The address to listen on.'
complete -c bgresp -n '__bgresp_at "listen" "serve"' -l port -x -d 'The port; 0 takes a free one.'
complete -c bgresp -n '__bgresp_at "listen" "serve"' -l uds -r -F -d 'Listen on a unix socket, too.'
complete -c bgresp -n '__bgresp_at "listen"' -l path -r -F -d 'Accept this path alone.'
complete -c bgresp -n '__bgresp_at "listen"' -l secret-env -x -d 'The signing secret is in this variable (repeat).'
complete -c bgresp -n '__bgresp_at "listen"' -l adopt -d 'Add jobs that the ledger does not know.'
complete -c bgresp -n '__bgresp_at "listen"' -l print-url -d 'Print the address first.'
complete -c bgresp -n '__bgresp_at "listen"' -l once -d 'Stop when the named jobs have ended; exit as they did.'
complete -c bgresp -n '__bgresp_at "listen"' -l interval -x -d 'Ask the endpoint every D all the same.'
complete -c bgresp -n '__bgresp_at "prune"' -l older -x -d 'Jobs that ended more than D ago.'
complete -c bgresp -n '__bgresp_at "resolve"' -l adopt -x -d 'It was accepted: as the response ID.'
complete -c bgresp -n '__bgresp_at "resolve"' -l abandon -d 'Give it up: it counts as rejected.'
complete -c bgresp -n '__bgresp_at "resolve"' -l resend -d 'Send it again, at the risk of paying twice.'
complete -c bgresp -n '__bgresp_at "retry"' -l failed -d 'Jobs that did not complete and were not retried.'
complete -c bgresp -n '__bgresp_at "serve"' -l key-env -x -d 'Require the key in this variable.'
complete -c bgresp -n '__bgresp_at "serve"' -l idle -x -d 'Stop after D without a job.'
complete -c bgresp -n '__bgresp_at "serve"' -l open -d 'Open its page in a browser: the jobs, live.'
complete -c bgresp -n '__bgresp_at "serve"' -l stop -d 'Stop the one that runs; with -p that profile\'s.'
complete -c bgresp -n '__bgresp_at "serve"' -l exec -x -d 'Run CMD for each job: prompt on stdin, answer on stdout.'
complete -c bgresp -n '__bgresp_at "serve"' -l upstream -x -d 'Ask a server that speaks Responses or chat completions.'
complete -c bgresp -n '__bgresp_at "serve"' -l workers -x -d 'Run N jobs at once (2).'
complete -c bgresp -n '__bgresp_at "serve"' -l queue -x -d 'Let N jobs wait; more get a 429.'
complete -c bgresp -n '__bgresp_at "serve"' -l max-run -x -d 'A job may run for D.'
complete -c bgresp -n '__bgresp_at "serve"' -l retention -x -d 'Keep answers for D.'
complete -c bgresp -n '__bgresp_at "serve"' -l disk -x -d 'All jobs may take N MiB.'
complete -c bgresp -n '__bgresp_at "serve"' -l grace -x -d 'When stopped, give running jobs D to end.'
complete -c bgresp -n '__bgresp_at "serve"' -l webhook-url -x -d 'Notify URL of each job that ends.'
complete -c bgresp -n '__bgresp_at "serve"' -l webhook-secret-env -x -d 'The variable with the secret that signs them.'
complete -c bgresp -n '__bgresp_at "serve"' -l webhook-allow -x -d 'Let a request name a URL there (repeat).'
complete -c bgresp -n '__bgresp_at "serve"' -l rerun -d 'After a crash, run the jobs again that ran.'
complete -c bgresp -n '__bgresp_at "show"' -l full -d 'The whole prompt and answer on a terminal, too.'
complete -c bgresp -n '__bgresp_at "stats"' -l by -x -a '(__bgresp_words status day model label profile group)' -d 'Group by status day model label label=K profile group.'
complete -c bgresp -n '__bgresp_at "stats"' -l time -x -a '(__bgresp_words relative local utc)' -d 'Days are local or utc.'
complete -c bgresp -n '__bgresp_at "status"' -l local -d 'Ask no endpoint; print what the ledger says.'
complete -c bgresp -n '__bgresp_at "status"' -l exit-status -d 'Exit as the job ended.'
complete -c bgresp -n '__bgresp_at "submit"' -s t -l text -x -d 'The prompt itself.'
complete -c bgresp -n '__bgresp_at "submit"' -l tool-output -x -a '(__bgresp_atfile)' -d 'With --previous: the output of a call (repeat).'
complete -c bgresp -n '__bgresp_at "submit"' -l approve -x -d 'With --previous: approve a call.'
complete -c bgresp -n '__bgresp_at "submit"' -l deny -x -d 'With --previous: deny a call.'
complete -c bgresp -n '__bgresp_at "submit"' -l key -x -d 'One job for each KEY, ever: a repeat prints its id.'
complete -c bgresp -n '__bgresp_at "submit"' -l unique -d 'If the same request is open already, print its id.'
complete -c bgresp -n '__bgresp_at "submit"' -l no-keep-prompt -d 'Keep no copy of the request.'
complete -c bgresp -n '__bgresp_at "submit"' -l expect -x -d 'How long it is expected to take.'
complete -c bgresp -n '__bgresp_at "submit"' -l dry-run -d 'Print the request; send nothing.'
complete -c bgresp -n '__bgresp_at "submit"' -s w -l watch -d 'Follow it; print its answer as it comes.'
complete -c bgresp -n '__bgresp_at "submit"' -l show -x -a '(__bgresp_list reasoning tools commentary all)' -d 'With --watch: also reasoning, tools, commentary, all.'
complete -c bgresp -n '__bgresp_at "submit"' -l wait -d 'Wait until it ends; print no text.'
complete -c bgresp -n '__bgresp_at "submit" "wait" "watch"' -l timeout -x -d 'Stop waiting after D.'
complete -c bgresp -n '__bgresp_at "submit"' -s o -l output -r -F -d 'Wait; write the answer to FILE.'
complete -c bgresp -n '__bgresp_at "submit"' -l stream -l no-stream -d 'Create it streamable.'
complete -c bgresp -n '__bgresp_at "sync"' -l exit-status -d 'Exit as the jobs ended, 8 while one is open.'
complete -c bgresp -n '__bgresp_at "sync"' -l out-dir -x -a '(__fish_complete_directories)' -d 'Write each answer to DIR/GROUP/ID.txt, ID its row\'s.'
complete -c bgresp -n '__bgresp_at "wait"' -l any -d 'Wait for one of them, not for all.'
complete -c bgresp -n '__bgresp_at "wait" "watch"' -l interval -x -d 'The time between polls.'
complete -c bgresp -n '__bgresp_at "wait" "watch"' -l fail-fast -d 'Stop when one does not complete.'
complete -c bgresp -n '__bgresp_at "watch"' -l resume -d 'Print only what was not shown before.'
complete -c bgresp -n '__bgresp_at "watch"' -l mode -x -a '(__bgresp_words auto stream poll)' -d 'auto, stream or poll.'
complete -c bgresp -n '__bgresp_at "watch"' -l events -d 'Print the endpoint\'s events as they come.'
complete -c bgresp -n '__bgresp_at "watch"' -l show -x -a '(__bgresp_list reasoning tools commentary all)' -d 'Show more: reasoning, tools, commentary, all.'
complete -c bgresp -n '__bgresp_at "watch"' -s o -l output -r -F -d 'Write the answer to FILE.'
complete -c bgresp -n '__bgresp_at "watch"' -l follow-new -d 'Follow selected jobs to come, too; Ctrl-C ends it.'
complete -c bgresp -n '__bgresp_at "batch"' -F
complete -c bgresp -n '__bgresp_at "cancel" "forget" "get" "list" "listen" "prune" "retry" "show" "stats" "status" "sync" "wait" "watch"' -a '(__bgresp_ref)'
complete -c bgresp -n '__bgresp_at "completions"' -a '(__bgresp_words bash zsh fish powershell)'
complete -c bgresp -n '__bgresp_at "config remove" "config use"' -a '(__bgresp_profile)'
complete -c bgresp -n '__bgresp_at "help"' -a '(__bgresp_words submit status watch cancel list show stats wait get retry batch sync listen import resolve forget prune models doctor completions help serve config agents batch-and-cron celery completion configuration contributing design endpoints environment exit-codes fields files lists local-endpoint machines options promises refs requests scale scripting statuses times troubleshooting webhooks)'
complete -c bgresp -n '__bgresp_at "resolve"' -a '(__bgresp_key)'
complete -c bgresp -n '__bgresp_at "submit"' -F
