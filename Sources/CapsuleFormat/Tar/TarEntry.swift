/// One entry of a tar stream, whatever the header format it was written in.
package struct TarEntry: Hashable, Sendable {
  package enum Kind: Hashable, Sendable {
    case file
    case directory
    /// The target as it stands in the link: any bytes but NUL, possibly absolute, never followed here.
    case symbolicLink(target: [UInt8])
    /// Another name of an entry that came before.
    case hardLink(to: TreePath)
    case characterDevice(major: UInt32, minor: UInt32)
    case blockDevice(major: UInt32, minor: UInt32)
    case fifo
  }

  package var path: TreePath
  package var kind: Kind
  /// Permission bits, with set-user-ID, set-group-ID and sticky: at most 0o7777.
  package var mode: UInt32
  package var userID: UInt32
  package var groupID: UInt32
  package var modified: Timestamp
  /// Bytes of a file's content, holes included; 0 for everything else.
  package var size: UInt64
  /// Sorted by name.
  package var extendedAttributes: [ExtendedAttribute]

  package init(
    path: TreePath, kind: Kind, mode: UInt32, userID: UInt32 = 0, groupID: UInt32 = 0,
    modified: Timestamp = Timestamp(seconds: 0), size: UInt64 = 0, extendedAttributes: [ExtendedAttribute] = []
  ) {
    self.path = path
    self.kind = kind
    self.mode = mode
    self.userID = userID
    self.groupID = groupID
    self.modified = modified
    self.size = size
    self.extendedAttributes = extendedAttributes
  }
}

/// A time as the file system keeps it.
package struct Timestamp: Hashable, Sendable {
  /// Seconds since 1970, rounded down.
  package var seconds: Int64
  /// 0..<1_000_000_000, always forwards from `seconds`.
  package var nanoseconds: UInt32

  package init(seconds: Int64, nanoseconds: UInt32 = 0) {
    self.seconds = seconds
    self.nanoseconds = nanoseconds
  }
}

/// An extended attribute: capabilities, ACLs and labels are some, in the kernel's own form.
package struct ExtendedAttribute: Hashable, Sendable {
  /// With its name space: `security.capability`.
  package var name: [UInt8]
  package var value: [UInt8]

  package init(name: [UInt8], value: [UInt8]) {
    self.name = name
    self.value = value
  }
}

/// What is done with the entries of a tar stream, in order: `entry`, its content in any number of pieces, `endEntry`.
package protocol TarSink {
  mutating func entry(_ entry: TarEntry) throws
  /// A piece of the current file's content, at this offset in the file. Offsets only grow; where they leave
  /// a gap, and behind the last piece up to the entry's size, there is a hole that reads as zeros.
  /// The bytes are valid during the call only.
  mutating func content(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws
  mutating func endEntry() throws
}
