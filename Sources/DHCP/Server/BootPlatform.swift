/// What kind of machine firmware runs on: the IANA processor architecture types of option 93, as far as it matters
/// which loader the machine can run.
package enum BootPlatform: String, Hashable, Sendable, CaseIterable {
  case bios = "BIOS"
  case uefiIA32 = "UEFI on 32-bit x86"
  case uefiX64 = "UEFI x64"
  case uefiARM32 = "UEFI on 32-bit ARM"
  case uefiARM64 = "UEFI on 64-bit ARM"
  case uefiRISCV64 = "UEFI on 64-bit RISC-V"
  case uefiLoongArch64 = "UEFI on 64-bit LoongArch"
  case uBootARM = "U-Boot on ARM"

  /// IANA, "Processor Architecture Types", with the readings that firmware has made of it. Those over HTTP have numbers
  /// of their own.
  private static let types: [UInt16: BootPlatform] = [
    0: .bios, 20: .bios,
    6: .uefiIA32, 15: .uefiIA32,
    // RFC 4578, section 2.1, has EFI byte code as 7 and x86-64 as 9, and erratum 4625 the other way round: firmware
    // for x64 says either.
    7: .uefiX64, 9: .uefiX64, 16: .uefiX64, 17: .uefiX64,
    10: .uefiARM32, 18: .uefiARM32, 11: .uefiARM64, 19: .uefiARM64,
    21: .uBootARM, 22: .uBootARM, 23: .uBootARM, 24: .uBootARM,
    27: .uefiRISCV64, 28: .uefiRISCV64, 39: .uefiLoongArch64, 40: .uefiLoongArch64,
  ]

  /// - Parameter architecture: `nil` for a type that has no name here.
  package init?(_ architecture: UInt16) {
    guard let platform = Self.types[architecture] else { return nil }
    self = platform
  }

  /// The platforms of a client's list in its order. A PXE client that names none is an old BIOS ROM.
  package static func all(_ client: ClientDescription) -> [BootPlatform] {
    client.architectures.isEmpty && client.speaker == .pxeFirmware
      ? [.bios] : client.architectures.compactMap(BootPlatform.init)
  }

  /// An architecture in words, known or not.
  package static func words(_ architecture: UInt16?) -> String {
    guard let architecture else { return "an architecture that the firmware does not name" }
    return BootPlatform(architecture)?.rawValue ?? "architecture \(architecture)"
  }
}
