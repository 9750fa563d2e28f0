// Frame indexes: reading one never traps, its frames lie one behind the other, and written again it is the same bytes.
//
// module NetworkTypes: Sources/NetworkTypes/*.swift
// module CapsuleFormat: Sources/CapsuleFormat/FrameIndex.swift Sources/CapsuleFormat/FrameIndexEncoding.swift
// module CapsuleFormat: Sources/CapsuleFormat/Digest.swift
import CapsuleFormat

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  guard let index = try? FrameIndex(decoding: bytes) else { return 0 }
  var offset: UInt64 = 0
  for frame in index.frames {
    precondition(frame.offset == offset && frame.compressedLength > 0 && frame.uncompressedLength > 0)
    offset += UInt64(frame.compressedLength)
  }
  precondition(offset == index.compressedLength && index.encoded() == bytes)
  return 0
}
