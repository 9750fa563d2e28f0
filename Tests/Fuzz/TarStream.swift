// Archives from anyone: reading one never traps, what is handed on is safe, and written again it is the same.
//
// module NetworkTypes: Sources/NetworkTypes/*.swift
// module CapsuleFormat: Sources/CapsuleFormat/Tar/*.swift
import CapsuleFormat

private struct Sink: TarSink {
  var entries: [TarEntry] = []
  var contentBytes: UInt64 = 0
  var last: UInt64 = 0
  var isOpen = false

  mutating func entry(_ entry: TarEntry) throws {
    precondition(!isOpen, "an entry within an entry")
    isOpen = true
    last = 0
    precondition(entry.mode <= 0o7777 && entry.modified.nanoseconds < 1_000_000_000)
    precondition(!entry.path.bytes.contains(0) && entry.path.bytes.first != UInt8(ascii: "/"))
    precondition(!entry.path.components.contains { $0.elementsEqual("..".utf8) || $0.isEmpty })
    entries.append(entry)
  }

  mutating func content(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
    guard let entry = entries.last else { fatalError("content of nothing") }
    precondition(isOpen && entry.kind == .file && offset >= last && offset + UInt64(bytes.count) <= entry.size)
    last = offset + UInt64(bytes.count)
    contentBytes += UInt64(bytes.count)
  }

  mutating func endEntry() throws {
    precondition(isOpen)
    isOpen = false
  }
}

/// - Parameter piece: Bytes handed in at once.
private func read(_ bytes: [UInt8], piece: Int) -> (sink: Sink, error: TarError?) {
  var sink = Sink()
  var reader = TarReader()
  do {
    var rest = bytes[...]
    while !rest.isEmpty {
      try reader.consume(Array(rest.prefix(piece)), into: &sink)
      rest = rest.dropFirst(piece)
    }
    try reader.finish()
  } catch let error as TarError {
    _ = error.description
    return (sink, error)
  } catch { fatalError("another error than its own: \(error)") }
  return (sink, nil)
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  var bytes = Array(UnsafeBufferPointer(start: start, count: count))
  // A checksum is not to be guessed: each block that could be a header gets its own.
  for block in stride(from: 0, to: count - 511, by: 512) where bytes[block + 148] != 0 {
    for index in 148..<156 { bytes[block + index] = UInt8(ascii: " ") }
    let sum = String(bytes[block..<block + 512].reduce(0) { $0 + Int($1) }, radix: 8)
    for (index, digit) in (String(repeating: "0", count: 6 - min(6, sum.utf8.count)) + sum).utf8.prefix(6).enumerated()
    {
      bytes[block + 148 + index] = digit
    }
  }
  let whole = read(bytes, piece: max(1, bytes.count))
  let pieces = read(bytes, piece: 100)
  precondition(whole.sink.entries == pieces.sink.entries && whole.sink.contentBytes == pieces.sink.contentBytes)
  precondition(whole.error == pieces.error)
  guard whole.error == nil else { return 0 }
  var written: [UInt8] = []
  for entry in whole.sink.entries {
    guard entry.size < 1 << 20, let header = try? TarWriter.header(of: entry) else { return 0 }
    written += header
    written += [UInt8](repeating: 0, count: Int(entry.size) + TarWriter.padding(after: entry.size))
  }
  let again = read(written + TarWriter.end, piece: 4096)
  precondition(again.error == nil && again.sink.entries == whole.sink.entries, "writing changed the entries")
  return 0
}
