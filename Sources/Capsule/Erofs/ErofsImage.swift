import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The tree once more, as an erofs file system that a node mounts as it is.
///
/// First the contents of files that do not fit beside their inodes, in the order of the tree; then large directories; then
/// the inodes. Nothing in it depends on anything but the tree, so the same tree gives the same image; and what an
/// earlier image has of the same files is copied out of it.
struct ErofsImage: Sendable {
  let tree: FileTree
  let plan: StreamPlan
  let known: KnownErofs
  /// Pieces being compressed at once.
  let width: Int

  /// Names the form of the image in a build's notes: to be changed with it.
  static let description = "erofs 2"

  /// A copy out of an earlier image is damaged: to be made again without.
  struct Damaged: Error {}

  struct Result {
    /// Sealed, not yet published.
    var writer: BlobWriter
    var record: KnownErofs.Record
  }

  func make(in store: ContentStore) async throws -> sending Result {
    let writer = try store.writer()
    guard let file = FileDescriptor.open(writer.temporaryPath, O_WRONLY) else {
      throw CapsuleError.writing(writer.temporaryPath, errno: errno)
    }
    var output = Output(file: file.number, path: writer.temporaryPath)
    var inodes = try ErofsInodes(tree)
    // The first block is written last.
    try output.append([UInt8](repeating: 0, count: ErofsFormat.blockSize))
    let contents = try await writeContents(of: &inodes, to: &output)
    let layout = try inodes.place(behind: &output)
    try await inOrder(count: layout.parts.count) {
      try layout.bytes(ofPart: $0)
    } take: {
      try output.append($0)
    }
    try output.padToBlock()
    let first = ErofsFormat.firstBlock(
      inodes: layout.count, blocks: try output.block, metadata: layout.metadata, root: layout.root)
    guard first.withUnsafeBytes({ file.writeAll($0, at: 0) }) else {
      throw CapsuleError.writing(writer.temporaryPath, errno: errno)
    }
    var check = CopyCheck(contents.copies)
    try writer.adopt { try check.consume($0) }
    let image = try writer.seal(mediaType: MediaType.erofs)
    return Result(writer: writer, record: KnownErofs.Record(image: image, pieces: contents.pieces.bytes))
  }

  // MARK: Contents

  /// A piece of a file's content.
  private struct Piece: Sendable {
    var item: Int
    var number: UInt64
    /// Of the file's content.
    var range: Range<UInt64>
    var copy: KnownErofs.Piece?
  }

  /// Pieces one behind the other: all to be made, or all to be copied at once.
  private struct Job: Sendable {
    private static let copyBytes: UInt64 = 64 << 20
    var pieces: [Piece] = []
    private var bytes: UInt64 = 0
    var isFull: Bool { bytes >= (pieces.first?.copy == nil ? KnownErofs.pieceBytes : Self.copyBytes) }

    func takes(_ piece: Piece) -> Bool {
      guard let last = pieces.last else { return true }
      guard let copy = last.copy else { return piece.copy == nil }
      return piece.copy?.stands(behind: copy) == true
    }

    mutating func add(_ piece: Piece) {
      pieces.append(piece)
      bytes += piece.range.upperBound - piece.range.lowerBound
    }
  }

  private struct Made: Sendable {
    var clusters: [UInt8]
    var bytes: [UInt8]
    var sum: UInt64
  }

  /// What has been written of all files.
  private struct Contents {
    var pieces = KnownErofs.Pieces()
    var copies: [CopyCheck.Copy] = []
  }

  private func writeContents(of inodes: inout ErofsInodes, to output: inout Output) async throws -> Contents {
    let jobs = jobs(inodes)
    var contents = Contents()
    func add(_ piece: Piece, at block: UInt32, _ clusters: [UInt8], sum: UInt64) {
      inodes.addContent(of: piece.item, at: block, clusters)
      guard !plan.stamps.isEmpty else { return }
      contents.pieces.add(piece.number, of: plan.stamps[piece.item], at: block, clusters, sum: sum)
    }
    try await inOrder(count: jobs.count) {
      (jobs[$0], try made(jobs[$0]))
    } take: { job, made in
      if let first = job.pieces.first?.copy {
        var block = try output.block
        let blocks = job.pieces.reduce(0) { $0 + ($1.copy?.blocks ?? 0) }
        try output.copy(from: known, first, blocks: blocks)
        for piece in job.pieces {
          guard let copy = piece.copy else { continue }
          add(piece, at: block, copy.clusters, sum: copy.sum)
          contents.copies.append(CopyCheck.Copy(block: block, blocks: copy.blocks, sum: copy.sum))
          block += UInt32(copy.blocks)
        }
      }
      for (piece, made) in zip(job.pieces, made) {
        let block = try output.block
        try output.append(made.bytes)
        add(piece, at: block, made.clusters, sum: made.sum)
      }
    }
    return contents
  }

  /// Small files together, large ones apart: what tasks do.
  private func jobs(_ inodes: ErofsInodes) -> [Job] {
    var jobs: [Job] = []
    var job = Job()
    for item in inodes.contents {
      let size = tree.items[item].entry.size
      var number: UInt64 = 0
      while number * KnownErofs.pieceBytes < size {
        let start = number * KnownErofs.pieceBytes
        let end = min(size, start + KnownErofs.pieceBytes)
        let copy = plan.stamps.isEmpty ? nil : known.piece(number, of: plan.stamps[item], bytes: end - start)
        let piece = Piece(item: item, number: number, range: start..<end, copy: copy)
        if job.isFull || !job.takes(piece) {
          jobs.append(job)
          job = Job()
        }
        job.add(piece)
        number += 1
      }
    }
    if !job.pieces.isEmpty { jobs.append(job) }
    return jobs
  }

  /// The contents of pieces that are to be made.
  private func made(_ job: Job) throws -> [Made] {
    guard job.pieces.first?.copy == nil else { return [] }
    let encoder = LZ4Encoder()
    var reader = ContentReader(source: tree.source)
    let content = UnsafeMutableRawBufferPointer.allocate(byteCount: ErofsFormat.clusterBytes, alignment: 16)
    let room = UnsafeMutableRawBufferPointer.allocate(byteCount: ErofsFormat.clusterBytes, alignment: 16)
    defer {
      content.deallocate()
      room.deallocate()
    }
    var made: [Made] = []
    for piece in job.pieces {
      var result = Made(clusters: [], bytes: [], sum: 0)
      result.bytes.reserveCapacity(Int(piece.range.upperBound - piece.range.lowerBound) + ErofsFormat.blockSize)
      try reader.open(tree.items[piece.item], at: piece.range.lowerBound)
      var start = piece.range.lowerBound
      while start < piece.range.upperBound {
        let count = Int(min(UInt64(ErofsFormat.clusterBytes), piece.range.upperBound - start))
        let cluster = UnsafeMutableRawBufferPointer(rebasing: content[..<count])
        try reader.read(into: cluster)
        result.clusters.append(append(UnsafeRawBufferPointer(cluster), encoder, room, to: &result.bytes))
        start += UInt64(count)
      }
      result.sum = BlockSum.of(result.bytes)
      made.append(result)
    }
    return made
  }

  /// One cluster: compressed where that saves a block.
  ///
  /// - Returns: Its blocks.
  private func append(
    _ content: UnsafeRawBufferPointer, _ encoder: borrowing LZ4Encoder, _ room: UnsafeMutableRawBufferPointer,
    to bytes: inout [UInt8]
  ) -> UInt8 {
    let blocks = Int(ErofsFormat.blocks(UInt64(content.count)))
    let limit = UnsafeMutableRawBufferPointer(rebasing: room[..<((blocks - 1) * ErofsFormat.blockSize)])
    guard let count = encoder.compress(content, into: limit) else {
      bytes.append(contentsOf: content)
      bytes.pad(to: ErofsFormat.blockSize)
      return UInt8(blocks)
    }
    let used = Int(ErofsFormat.blocks(UInt64(count)))
    bytes.append(contentsOf: repeatElement(0, count: used * ErofsFormat.blockSize - count))
    bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: limit[..<count]))
    return UInt8(used)
  }

  /// Runs jobs, several at once, and takes their results in order.
  private func inOrder<Made: Sendable>(
    count: Int, make: @escaping @Sendable (Int) throws -> Made, take: (Made) throws -> Void
  ) async throws {
    try await withThrowingTaskGroup(of: (Int, Made).self) { group in
      var made: [Int: Made] = [:]
      var taken = 0
      func finish(_ result: (Int, Made)) throws {
        made[result.0] = result.1
        while let next = made.removeValue(forKey: taken) {
          try take(next)
          taken += 1
        }
      }
      for number in 0..<count {
        try Task.checkCancellation()
        if number >= width, let result = try await group.next() { try finish(result) }
        group.addTask { (number, try make(number)) }
      }
      while let result = try await group.next() { try finish(result) }
    }
  }
}
