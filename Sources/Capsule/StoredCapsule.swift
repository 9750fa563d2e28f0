package import CapsuleFormat
import FoundationEssentials

/// A capsule whose every blob is in a content store.
package struct StoredCapsule: Hashable, Sendable {
  /// Of the manifest: the capsule's generation.
  package let digest: Digest
  package let manifest: CapsuleManifest
  package let config: CapsuleConfig
  package let rootFileSystem: Descriptor
  /// A blob that `FrameIndex(decoding:)` reads.
  package let frameIndex: Descriptor
  package let kernel: Descriptor
  package let initramfs: Descriptor
  package let stage1: Descriptor

  /// The root file system as an erofs image; `nil` in capsules that leave root mode overlay out.
  package var erofs: Descriptor? { manifest.layer(MediaType.erofs) }

  /// Bytes of all its blobs.
  package var bytes: Int64 { manifest.layers.reduce(manifest.config.size) { $0 + $1.size } }

  /// Reads a capsule's manifest and configuration, and checks that every blob they name is there with its size.
  ///
  /// - Throws: `CapsuleError`: `missingBlob`, `damagedBlob`, `badManifest`.
  package static func load(_ digest: Digest, from store: ContentStore) throws(CapsuleError) -> StoredCapsule {
    let manifest: CapsuleManifest = try decode(digest, in: store, what: "manifest")
    guard manifest.schemaVersion == 2, manifest.artifactType == MediaType.capsule else {
      throw bad(digest, "its artifactType is '\(manifest.artifactType)', not '\(MediaType.capsule)'")
    }
    guard manifest.layers.count <= CapsuleManifest.layerLimit else {
      throw bad(
        digest, "it names \(manifest.layers.count) layers, where \(CapsuleManifest.layerLimit) are allowed")
    }
    for descriptor in [manifest.config] + manifest.layers {
      let size = try store.size(of: descriptor.digest)
      guard size == descriptor.size else {
        throw CapsuleError(
          .damagedBlob, "The blob \(descriptor.digest) has \(size) bytes; the manifest says \(descriptor.size)",
          remedy: "Check the disk; then delete that file and import the capsule again")
      }
    }
    func layer(_ mediaType: String) throws(CapsuleError) -> Descriptor {
      guard let layer = manifest.layer(mediaType) else { throw bad(digest, "it names no \(mediaType)") }
      return layer
    }
    let config: CapsuleConfig = try decode(manifest.config.digest, in: store, what: "configuration")
    return StoredCapsule(
      digest: digest, manifest: manifest, config: config,
      rootFileSystem: try layer(MediaType.rootFileSystem), frameIndex: try layer(MediaType.frameIndex),
      kernel: try layer(MediaType.kernel), initramfs: try layer(MediaType.initramfs),
      stage1: try layer(MediaType.stage1))
  }

  /// The frames of its root file system.
  package func frames(from store: ContentStore) throws(CapsuleError) -> FrameIndex {
    let bytes = try store.read(frameIndex.digest, limit: FrameIndex.sizeLimit)
    do throws(FrameIndexError) {
      return try FrameIndex(decoding: bytes)
    } catch {
      throw Self.bad(digest, error.description)
    }
  }

  private static func bad(_ digest: Digest, _ reason: String) -> CapsuleError {
    CapsuleError(
      .badManifest, "\(digest) is not a capsule that this appliance understands: \(reason)",
      remedy: "Import the capsule again, or update the appliance")
  }

  private static func decode<Value: Decodable>(
    _ digest: Digest, in store: ContentStore, what: String
  ) throws(CapsuleError) -> Value {
    let bytes = try store.read(digest, limit: CapsuleManifest.sizeLimit)
    do {
      return try JSONDecoder().decode(Value.self, from: Data(bytes))
    } catch {
      throw bad(digest, "its \(what) cannot be read (\(error))")
    }
  }
}

/// JSON in one form only: keys sorted, no white space.
func canonicalJSON(_ value: some Encodable) throws -> [UInt8] {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  return Array(try encoder.encode(value))
}
