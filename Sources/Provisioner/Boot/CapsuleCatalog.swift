package import Capsule
package import CapsuleFormat
import StateProtocol
import Synchronization

/// What one generation of a capsule boots with.
package struct BootFiles: Hashable, Sendable {
  package var manifest: CapsuleManifest
  package var config: CapsuleConfig
  package var kernel: Descriptor
  package var initramfs: Descriptor
  package var stage1: Descriptor
  package var root: Descriptor
  package var frameIndex: Descriptor

  /// The root file system as an image to mount; `nil` in capsules without root mode overlay.
  package var rootImage: Descriptor? { manifest.layer(MediaType.erofs) }

  /// How a node can have this root, the default first. Modes that this version does not know are left out.
  package var rootModes: [RootMode] {
    guard let names = config.rootModes else { return rootImage == nil ? [.ram] : [.ram, .overlay] }
    return names.compactMap(RootMode.init)
  }

  /// All blobs together, in bytes.
  package var bytes: Int64 {
    manifest.layers.reduce(manifest.config.size) { sum, layer in
      let (total, overflow) = sum.addingReportingOverflow(layer.size)
      return overflow ? .max : total
    }
  }
}

/// Reads what a generation consists of, once: it never changes.
package final class CapsuleCatalog: Sendable {
  package let content: ContentStore
  private let cache = Mutex<[Digest: BootFiles]>([:])
  private let scripts = Mutex<[Digest: FileBundle]>([:])
  private static let cacheLimit = 256

  package init(content: ContentStore) {
    self.content = content
  }

  /// - Throws: `ApplianceError` where the capsule is not whole.
  package func files(of digest: Digest) throws -> BootFiles {
    if let files = cache.withLock({ $0[digest] }) { return files }
    let files = try read(digest)
    cache.withLock { cache in
      if cache.count >= Self.cacheLimit { cache.removeAll() }
      cache[digest] = files
    }
    return files
  }

  /// Lets go of what was read of capsules whose blobs are gone.
  package func forgetMissing() {
    cache.withLock { cache in cache = cache.filter { content.contains($0.key) } }
  }

  /// The nodescripts that a generation carries for a state, by file name.
  /// - Throws: `ApplianceError` where the capsule is not whole.
  package func nodescripts(of digest: Digest, state: String) throws -> [String: [UInt8]] {
    var found: [String: [UInt8]] = [:]
    for (path, file) in try bundle(of: digest).files where path.parent.bytes.elementsEqual(state.utf8) {
      found[String(decoding: path.name, as: UTF8.self)] = file.content
    }
    return found
  }

  /// The states that a generation carries nodescripts for.
  /// - Throws: `ApplianceError` where the capsule is not whole.
  package func states(of digest: Digest) throws -> Set<String> {
    Set(try bundle(of: digest).files.keys.map { String(decoding: $0.parent.bytes, as: UTF8.self) })
  }

  /// All nodescripts of a generation, as `STATE/NN-name`.
  private func bundle(of digest: Digest) throws -> FileBundle {
    guard let blob = try files(of: digest).manifest.layer(MediaType.nodescripts) else { return FileBundle() }
    if let known = scripts.withLock({ $0[blob.digest] }) { return known }
    let bundle: FileBundle
    do {
      bundle = try FileBundle(decoding: try content.read(blob.digest, limit: FileBundle.blobLimit))
    } catch {
      throw ApplianceError(
        .failed, "The nodescripts of the capsule \(digest) cannot be read: \(error). Import it again.")
    }
    scripts.withLock { scripts in
      if scripts.count >= Self.cacheLimit { scripts.removeAll() }
      scripts[blob.digest] = bundle
    }
    return bundle
  }

  private func read(_ digest: Digest) throws -> BootFiles {
    func damaged(_ reason: String) -> ApplianceError {
      ApplianceError(.failed, "The capsule \(digest) cannot be used: \(reason). Import it again.")
    }
    func message<Message: Decodable>(_ digest: Digest, _ what: String) throws -> Message {
      let bytes: [UInt8]
      do {
        bytes = try content.read(digest, limit: CapsuleManifest.sizeLimit)
      } catch {
        throw damaged("its \(what) cannot be read: \(error)")
      }
      do {
        return try ProtocolJSON.decode(from: bytes, limit: CapsuleManifest.sizeLimit)
      } catch {
        throw damaged("of its \(what), \(error)")
      }
    }
    let manifest: CapsuleManifest = try message(digest, "manifest")
    let config: CapsuleConfig = try message(manifest.config.digest, "configuration")
    func layer(_ mediaType: String, _ what: String) throws -> Descriptor {
      guard let layer = manifest.layer(mediaType) else { throw damaged("it has no \(what)") }
      guard content.contains(layer.digest) else {
        throw damaged("the blob of its \(what), \(layer.digest), is missing")
      }
      return layer
    }
    return BootFiles(
      manifest: manifest, config: config, kernel: try layer(MediaType.kernel, "kernel"),
      initramfs: try layer(MediaType.initramfs, "initramfs"), stage1: try layer(MediaType.stage1, "stage 1"),
      root: try layer(MediaType.rootFileSystem, "root file system"),
      frameIndex: try layer(MediaType.frameIndex, "frame index"))
  }
}
