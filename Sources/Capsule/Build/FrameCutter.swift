/// Where the tar stream is cut into frames: every 4 MiB.
///
/// It sees the stream's bytes as they gather and names the length of the next frame; cutting by content
/// instead is another such type.
struct FrameCutter: Sendable {
  /// The most bytes of a frame.
  let limit = 4 << 20

  /// Bytes of the next frame out of those gathered so far.
  ///
  /// - Returns: `nil` to gather more.
  func cut(_ gathered: UnsafeRawBufferPointer, atEnd: Bool) -> Int? {
    if gathered.count >= limit { return limit }
    return atEnd && !gathered.isEmpty ? gathered.count : nil
  }
}
