import NetworkTypes
import Stage1
import StateClient
import Testing

@Suite("The kernel command line")
struct CommandLineTests {
  @Test("is read with quotes, words without values, and the last of several values")
  func reads() {
    let line = KernelCommandLine("quiet a=1 a=2  \"b=x y\" c=\"p q\" perseid.debug=2\tperseid.shell\n")
    #expect(line.has("quiet") && line.value("quiet") == nil)
    #expect(line.value("a") == "2")
    #expect(line.value("b") == "x y")
    #expect(line.value("c") == "p q")
    #expect(line.debug == 2 && line.wantsShell)
    #expect(KernelCommandLine("perseid.debug").debug == 1)
    #expect(KernelCommandLine("").words.isEmpty)
  }

  @Test("names the appliance, the boot and the card")
  func names() {
    let line = KernelCommandLine("perseid.server=10.0.0.1:99 perseid.boot=abc BOOTIF=01-52-54-00-aa-bb-cc")
    #expect(line.servers == [Endpoint("10.0.0.1:99")])
    #expect(line.boot == "abc")
    #expect(line.hardwareAddress == MACAddress("52:54:00:aa:bb:cc"))
    #expect(KernelCommandLine("perseid.server=10.0.0.1,10.0.0.2:80").servers.map(\.port) == [9870, 80])
    #expect(
      KernelCommandLine("perseid.mac=52:54:00:00:00:01 BOOTIF=01-52-54-00-aa-bb-cc").hardwareAddress
        == MACAddress("52:54:00:00:00:01"))
    for wrong in ["BOOTIF=20-52-54-00-aa-bb-cc", "BOOTIF=nothing", "BOOTIF", ""] {
      #expect(KernelCommandLine(wrong).hardwareAddress == nil)
    }
    #expect(KernelCommandLine("perseid.server=appliance").servers.isEmpty)
  }

  @Test("has parameters for modules, whatever they write between the words of a name")
  func moduleParameters() {
    let line = KernelCommandLine("e1000e.a=1 snd-hda.x=\"1 2\" e1000e.b usb_storage.quirks=a e1000.c=1")
    #expect(line.parameters(ofModule: "e1000e") == "a=1 b")
    #expect(line.parameters(ofModule: "snd_hda") == "x=\"1 2\"")
    #expect(KernelCommandLine("modprobe.blacklist=a-b,c").blacklist == [ModuleName("a_b"), ModuleName("c")])
  }

  @Test("bounds the seconds it gives")
  func boundsSeconds() {
    #expect(KernelCommandLine("").restartSeconds == 900)
    #expect(KernelCommandLine("perseid.linkwait=0").linkSeconds == 1)
    #expect(KernelCommandLine("perseid.linkwait=99999").linkSeconds == 600)
  }

  @Test("seconds beyond what can be are the nearest that can, and what is no number counts as not said")
  func seconds() {
    for (word, restart) in [("inf", 1e9), ("-1", 0), ("0", 0), ("nan", 900), ("soon", 900), ("60", 60)] {
      #expect(KernelCommandLine("perseid.restart=\(word)").restartSeconds == restart)
    }
    for (word, wait) in [("inf", 600.0), ("-inf", 1), ("0", 1), ("nan", 30), ("", 30)] {
      #expect(KernelCommandLine("perseid.linkwait=\(word)").linkSeconds == wait)
    }
  }
}
