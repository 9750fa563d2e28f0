// Cpio images: reading one never traps, and what is read lies within it.
//
// module NetworkTypes: Sources/NetworkTypes/*.swift
// module CapsuleFormat: Sources/CapsuleFormat/CPIO/*.swift
import CapsuleFormat

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let image = Array(UnsafeBufferPointer(start: start, count: count))
  guard let entries = try? CPIOEntry.read(image) else { return 0 }
  var copy = CPIOWriter()
  for entry in entries {
    precondition(entry.content.startIndex >= 110 && entry.content.endIndex <= count)
    copy.addFile(
      entry.path, mode: entry.mode, content: Array(entry.content), alignment: count.isMultiple(of: 2) ? 4 : 16)
  }
  guard let again = try? CPIOEntry.read(copy.finish()) else { fatalError("what was written cannot be read") }
  precondition(again.filter { $0.mode & 0o170000 == 0o100000 }.count == entries.count)
  return 0
}
