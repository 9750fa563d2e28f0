/// What a capsule is to be made of.
package struct BuildRequest: Hashable, Sendable {
  /// The path of a directory, or of a tar archive: plain, or compressed with gzip, xz, bzip2 or zstd.
  package var source: String
  /// What the source is made of, for people, where it is a scratch directory: `the recipe compute.yaml`.
  var title: String?
  /// The capsule's name; `nil` takes it from the tree's os-release: `debian-12`.
  package var name: String?
  /// The path of the static executable `perseid-node`, which becomes stage 1.
  package var nodeExecutable: String
  /// The path of a static busybox.
  package var busybox: String
  /// zstd level of the root file system's frames, 1...19. A Debian is 2 % smaller with level 3, and takes 1.4 times as long.
  package var compressionLevel = 2
  /// What the source may be at most.
  package var limits = SourceLimits()
  /// Whether an erofs image is made, where the tree does not leave root mode overlay out itself.
  package var makesErofs = true

  package init(source: String, name: String? = nil, nodeExecutable: String, busybox: String) {
    self.source = source
    self.name = name
    self.nodeExecutable = nodeExecutable
    self.busybox = busybox
  }
}

/// How far a build is.
package struct BuildProgress: Hashable, Sendable {
  package enum Phase: String, Hashable, Sendable, CaseIterable {
    /// The steps of a recipe.
    case making
    /// The source is read through: a directory's entries, or a whole archive.
    case reading
    /// The root file system is compressed and stored.
    case packing
    /// Kernel modules and firmware are put together.
    case initramfs
    /// A stored capsule is compared with its digests.
    case checking
    /// A stored capsule's root file system is unpacked.
    case unpacking
    /// Blobs are copied out of a capsule's file, or into one.
    case copying
    case done
  }

  package var phase: Phase
  /// Bytes of this phase.
  package var completedBytes: Int64
  /// `nil` where that is not known.
  package var totalBytes: Int64?
  /// Something the person should know, such as which of two kernels was taken.
  package var note: String?
  /// While packing: frames of those packed so far that an earlier build had made.
  package var copiedFrames: Int?

  package init(
    phase: Phase, completedBytes: Int64, totalBytes: Int64?, note: String? = nil, copiedFrames: Int? = nil
  ) {
    self.phase = phase
    self.completedBytes = completedBytes
    self.totalBytes = totalBytes
    self.note = note
    self.copiedFrames = copiedFrames
  }
}

package typealias ProgressHandler = @Sendable (BuildProgress) -> Void
