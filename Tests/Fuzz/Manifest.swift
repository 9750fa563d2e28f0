// Manifests and configurations of capsules: reading one never traps, and written again it says the same.
//
// module NetworkTypes: Sources/NetworkTypes/*.swift
// module CapsuleFormat: Sources/CapsuleFormat/CapsuleManifest.swift Sources/CapsuleFormat/MediaType.swift
// module CapsuleFormat: Sources/CapsuleFormat/Digest.swift
import CapsuleFormat
import FoundationEssentials

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let data = Data(UnsafeBufferPointer(start: start, count: count))
  repeated(CapsuleManifest.self, data) { manifest in
    for layer in manifest.layers { precondition(Digest(layer.digest.description) == layer.digest) }
    _ = manifest.layer(MediaType.kernel)
  }
  repeated(CapsuleConfig.self, data) { _ in }
  return 0
}

private func repeated<Value: Codable & Equatable>(_: Value.Type, _ data: Data, _ look: (Value) -> Void) {
  guard let value = try? JSONDecoder().decode(Value.self, from: data) else { return }
  look(value)
  guard let written = try? JSONEncoder().encode(value), let again = try? JSONDecoder().decode(Value.self, from: written)
  else { fatalError("what was written cannot be read") }
  precondition(again == value, "writing changed it")
}
