function put(line) { word = line; sub(/\t.*/, "", word)
  if (!(word in seen)) { seen[word]; print line } }
BEGIN { prefix = ENVIRON["_BGRESP_PREFIX"]; kinds = ENVIRON["_BGRESP_KINDS"]
  size = length(prefix); most = 100 }
substr($0, 4, size) == prefix && index(kinds, substr($0, 2, 1)) {
  last[++count % most] = line = substr($0, 4)
  if (line > high) high = line
  if (line < low || count == 1) low = line }
END { for (at = count; at > 0 && at > count - most; at--) put(last[at % most])
  if (count > most) { put(low); put(high) } }
