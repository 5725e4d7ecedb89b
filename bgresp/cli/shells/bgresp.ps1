# PowerShell completion of bgresp, printed by `bgresp completions powershell`. Ids, names,
# groups, labels and profiles come from a file that bgresp keeps beside its ledger; no
# process is started. Made from the program: do not edit.

Register-ArgumentCompleter -Native -CommandName bgresp -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # What each command takes: its commands, its argument's kind, its options' kinds.
    $table = @{
@TABLE@
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
            if ($rest -eq 'p') { '@BUILT_IN@' -split ' ' | ForEach-Object { , @($_, 'built in') } }
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
