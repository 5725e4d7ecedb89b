function put(line) { line = substr(line, 4); word = line; sub(/\t.*/, "", word)
  if (!(word in seen)) { seen[word]; print line } }
BEGIN { prefix = ENVIRON["_BGRESP_PREFIX"]; kinds = ENVIRON["_BGRESP_KINDS"]
  size = length(prefix); most = 200 }
substr($0, 4, size) == prefix && index(kinds, substr($0, 2, 1)) {
  last[++count % most] = $0
  if (count == 1 || $0 < low) low = $0
  if ($0 > high) high = $0 }
END { for (at = count; at > 0 && at > count - most; at--) put(last[at % most])
  if (count > most) { put(low); put(high) } }
