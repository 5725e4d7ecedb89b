# PowerShell completion of bgresp, printed by `bgresp completions powershell`. Ids, names,
# groups, labels and profiles come from a file that bgresp keeps beside its ledger; no
# process is started. Made from the program: do not edit.

Register-ArgumentCompleter -Native -CommandName bgresp -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # What each command takes: its commands, its argument's kind, its options' kinds.
    $table = @{
        '' = @{
            commands = [ordered]@{ 'batch' = 'Submit a background response for each row of a manifest; print the ids in order.'; 'cancel' = 'Cancel jobs; then ask the endpoint and report what really became of them.'; 'completions' = 'Print the completion script of a shell.'; 'config' = 'Show, make and check the configuration: list, add, use, show, edit and more.'; 'doctor' = 'Check configuration, ledger, locks and clock; or probe an endpoint.'; 'forget' = 'Drop jobs and their answers from the ledger and the disk.'; 'get' = 'Print answers: from disk where they are saved, else from the endpoint.'; 'help' = 'Explain a command or a topic.'; 'import' = 'Add ids from elsewhere to the ledger; -p says which endpoint has them.'; 'list' = 'List the jobs of the ledger, newest first; asks no endpoint.'; 'listen' = 'Receive signed webhooks, and fetch the jobs that they name.'; 'models' = 'List the models of an endpoint, where it lists them; it costs nothing.'; 'prune' = 'Drop jobs that ended long ago, with their answers, and tidy the ledger.'; 'resolve' = 'Settle a submit whose outcome is unknown.'; 'retry' = 'Submit the stored request of a job again, as a new job at the same endpoint.'; 'serve' = 'Run a background-mode endpoint on this machine.'; 'show' = 'Show a job: what was asked, how it went, what it answered; asks no endpoint.'; 'stats' = 'Count jobs, tokens, and how long they were queued and ran; asks no endpoint.'; 'status' = 'Ask the endpoint once and print what it says.'; 'submit' = 'Submit a background response for each FILE and print its id.'; 'sync' = 'Ask once about every open job, save every result, and leave.'; 'wait' = 'Wait until jobs end, print nothing, exit as they ended.'; 'watch' = 'Follow jobs until they end; of one job, its text as it comes.' }
            argument = 'free'
            options = [ordered]@{ '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'batch' = @{
            commands = [ordered]@{  }
            argument = 'file'
            options = [ordered]@{ '--csv' = ''; '--prompt' = 'atfile'; '--id' = 'free'; '--group' = 'index:g'; '-l' = 'index:l'; '--label' = 'index:l'; '--shard' = 'free'; '--limit' = 'free'; '--in-flight' = 'free'; '--rate' = 'free'; '--max-failures' = 'free'; '--changed' = 'free'; '--retry-failed' = ''; '--wait' = ''; '--results' = 'file'; '--out-dir' = 'folder'; '--allow-empty' = ''; '--dry-run' = ''; '--allow-outside' = ''; '--no-keep-prompt' = ''; '--expect' = 'free'; '--stream' = ''; '--no-stream' = ''; '--notify' = 'free'; '-m' = 'index:m'; '--model' = 'index:m'; '-s' = 'atfile'; '--system' = 'atfile'; '--attach' = 'file'; '--var' = 'free'; '--schema' = 'atfile'; '--tool' = 'free'; '--max-output-tokens' = 'free'; '--previous' = 'index:in'; '--metadata' = 'free'; '--body' = 'atfile'; '--set' = 'free'; '--webhook-url' = 'free'; '--webhook-secret-env' = 'free'; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'cancel' = @{
            commands = [ordered]@{  }
            argument = 'index:in'
            options = [ordered]@{ '--group' = 'index:g'; '-l' = 'index:l'; '--label' = 'index:l'; '--status' = 'list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended'; '--since' = 'free'; '--until' = 'free'; '--model' = 'index:m'; '--open' = ''; '--all' = ''; '--allow-empty' = ''; '--yes' = ''; '--dry-run' = ''; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'completions' = @{
            commands = [ordered]@{  }
            argument = 'words:bash,zsh,fish,powershell'
            options = [ordered]@{ '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'config' = @{
            commands = [ordered]@{ 'add' = 'Write a profile into a file of its own, profiles/NAME.toml.'; 'edit' = 'Open config.toml in $VISUAL or $EDITOR, and check it afterwards.'; 'init' = 'Write a config.toml that explains itself, where there is none.'; 'list' = 'List every profile: its endpoint, its file, and whether its key is set.'; 'path' = 'Print where config.toml, the profiles and the ledger''s folder are.'; 'remove' = 'Remove a profile that `config add` made.'; 'show' = 'Print each value in effect and its origin; keys only as `set`.'; 'trust' = 'Let a profile''s key be sent to a base URL that jobs in the ledger name.'; 'use' = 'Make a profile the default; it need not have its key yet.' }
            argument = 'free'
            options = [ordered]@{ '-h' = ''; '--help' = '' }
        }
        'config add' = @{
            commands = [ordered]@{  }
            argument = 'free'
            options = [ordered]@{ '--dialect' = 'words:azure,azure-dated,azure-entra,bedrock,databricks,fastresponses,freddy,freddy-key,gemini,litellm,local,mka1,ogx,openai,perplexity,sail,sglang,vllm,xai-deferred,yandex'; '-m' = 'index:m'; '--model' = 'index:m'; '--api-key-env' = 'free'; '--api-key-file' = 'file'; '--api-key-cmd' = 'free'; '--stream' = ''; '--var' = 'free'; '--exec' = 'free'; '--exec-json' = ''; '--upstream' = 'free'; '--upstream-key-env' = 'free'; '--upstream-api' = 'words:responses,chat'; '--force' = ''; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'config edit' = @{
            commands = [ordered]@{  }
            argument = 'free'
            options = [ordered]@{ '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'config init' = @{
            commands = [ordered]@{  }
            argument = 'free'
            options = [ordered]@{ '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'config list' = @{
            commands = [ordered]@{  }
            argument = 'free'
            options = [ordered]@{ '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'config path' = @{
            commands = [ordered]@{  }
            argument = 'free'
            options = [ordered]@{ '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'config remove' = @{
            commands = [ordered]@{  }
            argument = 'index:p'
            options = [ordered]@{ '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'config show' = @{
            commands = [ordered]@{  }
            argument = 'free'
            options = [ordered]@{ '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'config trust' = @{
            commands = [ordered]@{  }
            argument = 'free'
            options = [ordered]@{ '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'config use' = @{
            commands = [ordered]@{  }
            argument = 'index:p'
            options = [ordered]@{ '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'doctor' = @{
            commands = [ordered]@{  }
            argument = 'free'
            options = [ordered]@{ '--fix' = ''; '--probe' = ''; '--yes' = ''; '-m' = 'index:m'; '--model' = 'index:m'; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'forget' = @{
            commands = [ordered]@{  }
            argument = 'index:in'
            options = [ordered]@{ '--group' = 'index:g'; '-l' = 'index:l'; '--label' = 'index:l'; '--status' = 'list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended'; '--since' = 'free'; '--until' = 'free'; '--model' = 'index:m'; '--open' = ''; '--all' = ''; '--allow-empty' = ''; '--remote' = ''; '--force' = ''; '--yes' = ''; '--dry-run' = ''; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'get' = @{
            commands = [ordered]@{  }
            argument = 'index:in'
            options = [ordered]@{ '--group' = 'index:g'; '-l' = 'index:l'; '--label' = 'index:l'; '--status' = 'list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended'; '--since' = 'free'; '--until' = 'free'; '--model' = 'index:m'; '--open' = ''; '--all' = ''; '--allow-empty' = ''; '--part' = 'words:text,reasoning,commentary,citations,tools,refusal,images,files,data,usage,error,request,raw'; '-x' = ''; '--extract' = ''; '--pretty' = ''; '-o' = 'file'; '--output' = 'file'; '--out-dir' = 'folder'; '--force' = ''; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'help' = @{
            commands = [ordered]@{  }
            argument = 'words:submit,status,watch,cancel,list,show,stats,wait,get,retry,batch,sync,listen,import,resolve,forget,prune,models,doctor,completions,help,serve,config,agents,batch-and-cron,celery,completion,configuration,contributing,design,endpoints,environment,exit-codes,fields,files,lists,local-endpoint,machines,options,promises,refs,requests,scale,scripting,statuses,times,troubleshooting,webhooks'
            options = [ordered]@{ '--man' = ''; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'import' = @{
            commands = [ordered]@{  }
            argument = 'free'
            options = [ordered]@{ '-n' = 'free'; '--name' = 'free'; '-l' = 'index:l'; '--label' = 'index:l'; '--group' = 'index:g'; '--from' = 'file'; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'list' = @{
            commands = [ordered]@{  }
            argument = 'index:in'
            options = [ordered]@{ '--group' = 'index:g'; '-l' = 'index:l'; '--label' = 'index:l'; '--status' = 'list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended'; '--since' = 'free'; '--until' = 'free'; '--model' = 'index:m'; '--open' = ''; '--all' = ''; '--allow-empty' = ''; '--limit' = 'free'; '--grep' = 'free'; '--sort' = 'words:age,name,status,model,took,queue,run,tokens,expires,finished,group,profile'; '--reverse' = ''; '--wide' = ''; '--time' = 'words:relative,local,utc'; '--timeline' = ''; '--refresh' = ''; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'listen' = @{
            commands = [ordered]@{  }
            argument = 'index:in'
            options = [ordered]@{ '--group' = 'index:g'; '-l' = 'index:l'; '--label' = 'index:l'; '--status' = 'list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended'; '--since' = 'free'; '--until' = 'free'; '--model' = 'index:m'; '--open' = ''; '--all' = ''; '--allow-empty' = ''; '--host' = 'free'; '--port' = 'free'; '--uds' = 'file'; '--path' = 'file'; '--secret-env' = 'free'; '--adopt' = ''; '--print-url' = ''; '--once' = ''; '--interval' = 'free'; '--notify' = 'free'; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'models' = @{
            commands = [ordered]@{  }
            argument = 'free'
            options = [ordered]@{ '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'prune' = @{
            commands = [ordered]@{  }
            argument = 'index:in'
            options = [ordered]@{ '--group' = 'index:g'; '-l' = 'index:l'; '--label' = 'index:l'; '--status' = 'list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended'; '--since' = 'free'; '--until' = 'free'; '--model' = 'index:m'; '--open' = ''; '--all' = ''; '--allow-empty' = ''; '--older' = 'free'; '--remote' = ''; '--force' = ''; '--yes' = ''; '--dry-run' = ''; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'resolve' = @{
            commands = [ordered]@{  }
            argument = 'index:u'
            options = [ordered]@{ '--adopt' = 'free'; '--abandon' = ''; '--resend' = ''; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'retry' = @{
            commands = [ordered]@{  }
            argument = 'index:in'
            options = [ordered]@{ '--group' = 'index:g'; '-l' = 'index:l'; '--label' = 'index:l'; '--status' = 'list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended'; '--since' = 'free'; '--until' = 'free'; '--model' = 'index:m'; '--open' = ''; '--all' = ''; '--allow-empty' = ''; '--failed' = ''; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'serve' = @{
            commands = [ordered]@{  }
            argument = 'free'
            options = [ordered]@{ '--host' = 'free'; '--port' = 'free'; '--uds' = 'file'; '--key-env' = 'free'; '--idle' = 'free'; '--open' = ''; '--stop' = ''; '--exec' = 'free'; '--exec-json' = ''; '--upstream' = 'free'; '--upstream-key-env' = 'free'; '--upstream-api' = 'words:responses,chat'; '--workers' = 'free'; '--queue' = 'free'; '--max-run' = 'free'; '--retention' = 'free'; '--disk' = 'free'; '--grace' = 'free'; '--webhook-url' = 'free'; '--webhook-secret-env' = 'free'; '--webhook-allow' = 'free'; '--rerun' = ''; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'show' = @{
            commands = [ordered]@{  }
            argument = 'index:in'
            options = [ordered]@{ '--group' = 'index:g'; '-l' = 'index:l'; '--label' = 'index:l'; '--status' = 'list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended'; '--since' = 'free'; '--until' = 'free'; '--model' = 'index:m'; '--open' = ''; '--all' = ''; '--allow-empty' = ''; '--full' = ''; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'stats' = @{
            commands = [ordered]@{  }
            argument = 'index:in'
            options = [ordered]@{ '--group' = 'index:g'; '-l' = 'index:l'; '--label' = 'index:l'; '--status' = 'list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended'; '--since' = 'free'; '--until' = 'free'; '--model' = 'index:m'; '--open' = ''; '--all' = ''; '--allow-empty' = ''; '--by' = 'words:status,day,model,label,profile,group'; '--time' = 'words:relative,local,utc'; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'status' = @{
            commands = [ordered]@{  }
            argument = 'index:in'
            options = [ordered]@{ '--group' = 'index:g'; '-l' = 'index:l'; '--label' = 'index:l'; '--status' = 'list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended'; '--since' = 'free'; '--until' = 'free'; '--model' = 'index:m'; '--open' = ''; '--all' = ''; '--allow-empty' = ''; '--local' = ''; '--exit-status' = ''; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'submit' = @{
            commands = [ordered]@{  }
            argument = 'file'
            options = [ordered]@{ '-m' = 'index:m'; '--model' = 'index:m'; '-s' = 'atfile'; '--system' = 'atfile'; '--attach' = 'file'; '--var' = 'free'; '--schema' = 'atfile'; '--tool' = 'free'; '--max-output-tokens' = 'free'; '--previous' = 'index:in'; '--metadata' = 'free'; '--body' = 'atfile'; '--set' = 'free'; '--webhook-url' = 'free'; '--webhook-secret-env' = 'free'; '-t' = 'free'; '--text' = 'free'; '--tool-output' = 'atfile'; '--approve' = 'free'; '--deny' = 'free'; '-n' = 'free'; '--name' = 'free'; '-l' = 'index:l'; '--label' = 'index:l'; '--group' = 'index:g'; '--key' = 'free'; '--unique' = ''; '--no-keep-prompt' = ''; '--expect' = 'free'; '--dry-run' = ''; '-w' = ''; '--watch' = ''; '--show' = 'list:reasoning,tools,commentary,all'; '--wait' = ''; '--timeout' = 'free'; '-o' = 'file'; '--output' = 'file'; '--force' = ''; '--stream' = ''; '--no-stream' = ''; '--notify' = 'free'; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'sync' = @{
            commands = [ordered]@{  }
            argument = 'index:in'
            options = [ordered]@{ '--group' = 'index:g'; '-l' = 'index:l'; '--label' = 'index:l'; '--status' = 'list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended'; '--since' = 'free'; '--until' = 'free'; '--model' = 'index:m'; '--open' = ''; '--all' = ''; '--allow-empty' = ''; '--exit-status' = ''; '--out-dir' = 'folder'; '--notify' = 'free'; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'wait' = @{
            commands = [ordered]@{  }
            argument = 'index:in'
            options = [ordered]@{ '--group' = 'index:g'; '-l' = 'index:l'; '--label' = 'index:l'; '--status' = 'list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended'; '--since' = 'free'; '--until' = 'free'; '--model' = 'index:m'; '--open' = ''; '--all' = ''; '--allow-empty' = ''; '--any' = ''; '--interval' = 'free'; '--timeout' = 'free'; '--fail-fast' = ''; '--notify' = 'free'; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
        'watch' = @{
            commands = [ordered]@{  }
            argument = 'index:in'
            options = [ordered]@{ '--group' = 'index:g'; '-l' = 'index:l'; '--label' = 'index:l'; '--status' = 'list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended'; '--since' = 'free'; '--until' = 'free'; '--model' = 'index:m'; '--open' = ''; '--all' = ''; '--allow-empty' = ''; '--resume' = ''; '--mode' = 'words:auto,stream,poll'; '--interval' = 'free'; '--timeout' = 'free'; '--events' = ''; '--show' = 'list:reasoning,tools,commentary,all'; '--fail-fast' = ''; '-o' = 'file'; '--output' = 'file'; '--force' = ''; '--follow-new' = ''; '--notify' = 'free'; '-p' = 'index:p'; '--profile' = 'index:p'; '--base-url' = 'free'; '-H' = 'free'; '--header' = 'free'; '--allow-http' = ''; '--json' = ''; '--jsonl' = ''; '--fields' = 'list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage'; '-q' = ''; '--quiet' = ''; '-v' = ''; '--verbose' = ''; '--color' = 'words:auto,always,never'; '--no-progress' = ''; '-V' = ''; '--version' = ''; '-h' = ''; '--help' = '' }
        }
    }

    # The words of some kinds that begin so, newest first, each with what it is.
    function Get-Indexed([string] $kinds, [string] $prefix) {
        $state = $env:BGRESP_STATE_DIR
        if (-not $state) {
            $state = if ("$env:XDG_STATE_HOME".StartsWith('/')) {
                [System.IO.Path]::Combine($env:XDG_STATE_HOME, 'bgresp')
            } elseif ($env:LOCALAPPDATA) {
                [System.IO.Path]::Combine($env:LOCALAPPDATA, 'bgresp', 'bgresp')
            } elseif ($IsMacOS) {
                [System.IO.Path]::Combine($HOME, 'Library/Application Support/bgresp')
            } else {
                [System.IO.Path]::Combine($HOME, '.local/state/bgresp')
            }
        } elseif ($state.StartsWith('~/')) {
            $state = [System.IO.Path]::Combine($HOME, $state.Substring(2))
        }
        $found = [System.Collections.Generic.List[object]]::new()
        foreach ($name in 'profiles', 'words') {
            $file = [System.IO.Path]::Combine($state, 'index', $name)
            if (-not [System.IO.File]::Exists($file)) { continue }
            foreach ($line in [System.IO.File]::ReadAllLines($file)) {
                if ($line.Length -lt 4 -or -not $kinds.Contains($line.Substring(1, 1))) { continue }
                $parts = $line.Split("`t")
                if ($parts.Length -lt 4 -or -not $parts[2].StartsWith($prefix, 'Ordinal')) { continue }
                $found.Add(@($parts[2], $parts[3]))
            }
        }
        $found.Reverse()
        $seen = [System.Collections.Generic.HashSet[string]]::new()
        foreach ($pair in $found) {
            if ($seen.Count -ge 100) { break }
            if ($seen.Add($pair[0])) { , $pair }
        }
    }

    # The word being typed, without its quotes, and the words before it.
    $quotes = [char[]] @("'", '"')
    $word = $wordToComplete.Trim($quotes)
    $before = @($commandAst.CommandElements | Where-Object {
        $_.Extent.EndOffset -lt $cursorPosition -or
        ($_.Extent.EndOffset -eq $cursorPosition -and -not $wordToComplete)
    } | ForEach-Object { $_.Extent.Text.Trim($quotes) })

    $path = ''
    $kind = ''
    $ended = $false
    foreach ($element in ($before | Select-Object -Skip 1)) {
        $longer = "$path $element".Trim()
        if ($kind) { $kind = '' }
        elseif (-not $ended -and $element -eq '--') { $ended = $true }
        elseif (-not $ended -and $element.StartsWith('-')) {
            $kind = $table[$path].options[$element]
        } elseif ($table.Contains($longer)) { $path = $longer }
    }
    $spec = $table[$path]
    $lead = ''
    if (-not $kind) {
        if (-not $ended -and $word -match '^(--[^=]+)=(.*)$') {
            $kind = $spec.options[$Matches[1]]
            $lead = $Matches[1] + '='
            $word = $Matches[2]
        } elseif (-not $ended -and $word.StartsWith('-')) { $kind = 'option' }
        elseif ($spec.commands) { $kind = 'command' }
        else { $kind = $spec.argument }
    }
    $kind, $rest = "$kind" -split ':', 2
    $pairs = switch ($kind) {
        'option' { $spec.options.Keys | ForEach-Object { , @($_, '') } }
        'command' { $spec.commands.Keys | ForEach-Object { , @($_, $spec.commands[$_]) } }
        'words' { $rest -split ',' | ForEach-Object { , @($_, '') } }
        'list' {
            if ($word -match '^(.*,)([^,]*)$') { $lead += $Matches[1]; $word = $Matches[2] }
            $rest -split ',' | ForEach-Object { , @($_, '') }
        }
        'index' {
            if ($rest -eq 'in') { , @('@last', 'the newest job') }
            if ($rest -eq 'p') { 'azure azure-dated azure-entra bedrock databricks fastresponses freddy freddy-key gemini litellm local mka1 ogx openai perplexity sail sglang vllm xai-deferred yandex' -split ' ' | ForEach-Object { , @($_, 'built in') } }
            Get-Indexed $rest $word
        }
    }
    foreach ($pair in $pairs) {
        if (-not $pair[0].StartsWith($word, 'Ordinal')) { continue }
        $text = $lead + $pair[0]
        if ($text -notmatch '^[A-Za-z0-9_./:=+-]+$') {
            $text = "'" + [System.Management.Automation.Language.CodeGeneration]::EscapeSingleQuotedStringContent($text) + "'"
        }
        $tip = if ($pair[1]) { $pair[1] } else { $pair[0] }
        [System.Management.Automation.CompletionResult]::new($text, $pair[0], 'ParameterValue', $tip)
    }
}
