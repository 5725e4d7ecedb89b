# bash completion of bgresp (bash 4.4 or later), printed by `bgresp completions bash`.
# Ids, names, groups, labels and profiles come from a file that bgresp keeps beside its
# ledger; reading it starts awk and nothing else. Made from the program: do not edit.

# Say what a command takes: `commands`, `argument`, and `options` as NAME or NAME=KIND.
_bgresp_command() {
  commands='' argument=free
  case $1 in
    '') commands='batch cancel completions config doctor forget get help import list listen models prune resolve retry serve show stats status submit sync wait watch' options='-V --version -h --help' ;;
    'batch') argument='file' options='--csv --prompt=atfile --id=free --group=index:g -l=index:l --label=index:l --shard=free --limit=free --in-flight=free --rate=free --max-failures=free --changed=free --retry-failed --wait --results=file --out-dir=folder --allow-empty --dry-run --allow-outside --no-keep-prompt --expect=free --stream --no-stream --notify=free -m=index:m --model=index:m -s=atfile --system=atfile --attach=file --var=free --schema=atfile --tool=free --max-output-tokens=free --previous=index:in --metadata=free --body=atfile --set=free --webhook-url=free --webhook-secret-env=free -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'cancel') argument='index:in' options='--group=index:g -l=index:l --label=index:l --status=list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended --since=free --until=free --model=index:m --open --all --allow-empty --yes --dry-run -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'completions') argument='words:bash,zsh,fish,powershell' options='-p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'config') commands='add edit init list path remove show trust use' options='-h --help' ;;
    'config add') argument='free' options='--dialect=words:azure,azure-dated,azure-entra,bedrock,databricks,fastresponses,freddy,freddy-key,gemini,litellm,local,mka1,ogx,openai,perplexity,sail,sglang,vllm,xai-deferred,yandex -m=index:m --model=index:m --api-key-env=free --api-key-file=file --api-key-cmd=free --stream --var=free --exec=free --exec-json --upstream=free --upstream-key-env=free --upstream-api=words:responses,chat --force -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'config edit') options='-p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'config init') options='-p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'config list') options='-p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'config path') options='-p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'config remove') argument='index:p' options='-p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'config show') options='-p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'config trust') argument='free' options='-p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'config use') argument='index:p' options='-p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'doctor') options='--fix --probe --yes -m=index:m --model=index:m -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'forget') argument='index:in' options='--group=index:g -l=index:l --label=index:l --status=list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended --since=free --until=free --model=index:m --open --all --allow-empty --remote --force --yes --dry-run -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'get') argument='index:in' options='--group=index:g -l=index:l --label=index:l --status=list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended --since=free --until=free --model=index:m --open --all --allow-empty --part=words:text,reasoning,commentary,citations,tools,refusal,images,files,data,usage,error,request,raw -x --extract --pretty -o=file --output=file --out-dir=folder --force -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'help') argument='words:submit,status,watch,cancel,list,show,stats,wait,get,retry,batch,sync,listen,import,resolve,forget,prune,models,doctor,completions,help,serve,config,agents,batch-and-cron,celery,completion,configuration,contributing,design,endpoints,environment,exit-codes,fields,files,lists,local-endpoint,machines,options,promises,refs,requests,scale,scripting,statuses,times,troubleshooting,webhooks' options='--man -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'import') argument='free' options='-n=free --name=free -l=index:l --label=index:l --group=index:g --from=file -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'list') argument='index:in' options='--group=index:g -l=index:l --label=index:l --status=list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended --since=free --until=free --model=index:m --open --all --allow-empty --limit=free --grep=free --sort=words:age,name,status,model,took,queue,run,tokens,expires,finished,group,profile --reverse --wide --time=words:relative,local,utc --timeline --refresh -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'listen') argument='index:in' options='--group=index:g -l=index:l --label=index:l --status=list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended --since=free --until=free --model=index:m --open --all --allow-empty --host=free --port=free --uds=file --path=file --secret-env=free --adopt --print-url --once --interval=free --notify=free -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'models') options='-p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'prune') argument='index:in' options='--group=index:g -l=index:l --label=index:l --status=list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended --since=free --until=free --model=index:m --open --all --allow-empty --older=free --remote --force --yes --dry-run -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'resolve') argument='index:u' options='--adopt=free --abandon --resend -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'retry') argument='index:in' options='--group=index:g -l=index:l --label=index:l --status=list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended --since=free --until=free --model=index:m --open --all --allow-empty --failed -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'serve') options='--host=free --port=free --uds=file --key-env=free --idle=free --open --stop --exec=free --exec-json --upstream=free --upstream-key-env=free --upstream-api=words:responses,chat --workers=free --queue=free --max-run=free --retention=free --disk=free --grace=free --webhook-url=free --webhook-secret-env=free --webhook-allow=free --rerun -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'show') argument='index:in' options='--group=index:g -l=index:l --label=index:l --status=list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended --since=free --until=free --model=index:m --open --all --allow-empty --full -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'stats') argument='index:in' options='--group=index:g -l=index:l --label=index:l --status=list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended --since=free --until=free --model=index:m --open --all --allow-empty --by=words:status,day,model,label,profile,group --time=words:relative,local,utc -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'status') argument='index:in' options='--group=index:g -l=index:l --label=index:l --status=list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended --since=free --until=free --model=index:m --open --all --allow-empty --local --exit-status -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'submit') argument='file' options='-m=index:m --model=index:m -s=atfile --system=atfile --attach=file --var=free --schema=atfile --tool=free --max-output-tokens=free --previous=index:in --metadata=free --body=atfile --set=free --webhook-url=free --webhook-secret-env=free -t=free --text=free --tool-output=atfile --approve=free --deny=free -n=free --name=free -l=index:l --label=index:l --group=index:g --key=free --unique --no-keep-prompt --expect=free --dry-run -w --watch --show=list:reasoning,tools,commentary,all --wait --timeout=free -o=file --output=file --force --stream --no-stream --notify=free -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'sync') argument='index:in' options='--group=index:g -l=index:l --label=index:l --status=list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended --since=free --until=free --model=index:m --open --all --allow-empty --exit-status --out-dir=folder --notify=free -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'wait') argument='index:in' options='--group=index:g -l=index:l --label=index:l --status=list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended --since=free --until=free --model=index:m --open --all --allow-empty --any --interval=free --timeout=free --fail-fast --notify=free -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
    'watch') argument='index:in' options='--group=index:g -l=index:l --label=index:l --status=list:submitting,unknown,rejected,queued,in_progress,completed,incomplete,cancelled,failed,lost,open,ended --since=free --until=free --model=index:m --open --all --allow-empty --resume --mode=words:auto,stream,poll --interval=free --timeout=free --events --show=list:reasoning,tools,commentary,all --fail-fast -o=file --output=file --force --follow-new --notify=free -p=index:p --profile=index:p --base-url=free -H=free --header=free --allow-http --json --jsonl --fields=list:age,base_url,calls,checked_at,cost,created_at,cursor,ended_with,error,exit_code,expires,expires_at,finished,finished_at,group,id,incomplete_reason,key,labels,last_error,model,model_asked,name,output_path,previous_id,profile,queue,raw_status,reason,refusal,request_sha256,retry_of,row,run,schema,started,status,submit_key,submitted_at,text,tokens,tokens_cached,tokens_in,tokens_out,tokens_reasoning,took,took_exact,usage -q --quiet -v --verbose --color=words:auto,always,never --no-progress -V --version -h --help' ;;
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
function put(line) { word = line; sub(/\t.*/, "", word)
  if (!(word in seen)) { seen[word]; print line } }
BEGIN { prefix = ENVIRON["_BGRESP_PREFIX"]; kinds = ENVIRON["_BGRESP_KINDS"]
  size = length(prefix); most = 100 }
substr($0, 4, size) == prefix && index(kinds, substr($0, 2, 1)) {
  last[++count % most] = line = substr($0, 4)
  if (line > high) high = line
  if (line < low || count == 1) low = line }
END { for (at = count; at > 0 && at > count - most; at--) put(last[at % most])
  if (count > most) { put(low); put(high) } }' "${files[@]}" 2>/dev/null)
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
      [[ $1 != index:p ]] || offered+=(azure azure-dated azure-entra bedrock databricks fastresponses freddy freddy-key gemini litellm local mka1 ogx openai perplexity sail sglang vllm xai-deferred yandex)
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
