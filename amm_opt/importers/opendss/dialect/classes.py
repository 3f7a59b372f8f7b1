"""OpenDSS's classes, commands and options, and what each of them means for a network."""

from __future__ import annotations


def _words(text: str) -> list[str]:
    return text.split()


_INHERITED = "normamps emergamps faultrate pctperm repair basefreq enabled like"
_SWITCHED = "monitoredobj monitoredterm switchedobj switchedterm"
_CONDUCTOR = "rdc rac runits gmrac gmrunits radius radunits normamps emergamps diam seasons ratings capradius like"
_CABLE = "epsr inslayer diains diacable"
_INVERTER = "wattpriority pfpriority %pminnovars %pminkvarmax"
_DYNAMICS = "kvdc kp pitol safevoltage safemode dynamiceq dynout controlmode amplimit amplimitgain spectrum"
_CLASSES = {
    "loadshape": "npts interval mult hour mean stddev csvfile sngfile dblfile action qmult useactual pmax qmax"
    " sinterval minterval pbase qbase pmult pqcsvfile memorymapping interpolation like",
    "tshape": "npts interval temp hour mean stddev csvfile sngfile dblfile sinterval minterval action like",
    "xycurve": "npts points yarray xarray csvfile sngfile dblfile x y xshift yshift xscale yscale like",
    "pvsystem": "phases bus1 kv irradiance pmpp %pmpp temperature pf conn kvar kva %cutin %cutout effcurve p-tcurve %r"
    " %x model vminpu vmaxpu balanced limitcurrent yearly daily duty tyearly tdaily tduty class usermodel userdata"
    f" debugtrace varfollowinverter dutystart {_INVERTER} kvarmax kvarmaxabs {_DYNAMICS} basefreq enabled like",
    "generator": "phases bus1 kv kw pf kvar model vminpu vmaxpu yearly daily duty dispmode dispvalue conn status class"
    " vpu maxkvar minkvar pvfactor forceon kva mva xd xdp xdpp h d usermodel userdata shaftmodel shaftdata dutystart"
    " debugtrace balanced xrdp usefuel fuelkwh %fuel %reserve refuel dynamiceq dynout spectrum basefreq enabled like",
    "storage": "phases bus1 kv conn kw kvar pf kva %cutin %cutout effcurve varfollowinverter kvarmax kvarmaxabs"
    f" {_INVERTER} kwrated %kwrated kwhrated kwhstored %stored %reserve state %discharge %charge %effcharge"
    " %effdischarge %idlingkw %idlingkvar %r %x model vminpu vmaxpu balanced limitcurrent yearly daily duty dispmode"
    " dischargetrigger chargetrigger timechargetrig class dynadll dynadata usermodel userdata debugtrace"
    f" {_DYNAMICS} basefreq enabled like",
    "vsource": "bus1 basekv pu angle frequency phases mvasc3 mvasc1 x1r1 x0r0 isc3 isc1 r1 x1 r0 x0 scantype sequence"
    " bus2 z1 z0 z2 puz1 puz0 puz2 basemva yearly daily duty model puzideal spectrum basefreq enabled like",
    "linecode": "nphases r1 x1 r0 x0 c1 c0 units rmatrix xmatrix cmatrix basefreq normamps emergamps faultrate pctperm"
    " repair kron rg xg rho neutral b1 b0 seasons ratings linetype like",
    "line": "bus1 bus2 linecode length phases r1 x1 r0 x0 c1 c0 rmatrix xmatrix cmatrix switch rg xg rho geometry units"
    f" spacing wires earthmodel cncables tscables b1 b0 seasons ratings linetype {_INHERITED}",
    "transformer": "phases windings wdg bus conn kv kva tap %r rneut xneut buses conns kvs kvas taps xhl xht xlt"
    " xscarray thermal n m flrise hsrise %loadloss %noloadloss normhkva emerghkva sub maxtap mintap numtaps subname"
    f" %imag ppm_antifloat %rs bank xfmrcode xrconst x12 x13 x23 leadlag wdgcurrents core rdcohms seasons ratings"
    f" {_INHERITED}",
    "xfmrcode": "phases windings wdg conn kv kva tap %r rneut xneut conns kvs kvas taps xhl xht xlt xscarray thermal"
    " n m flrise hsrise %loadloss %noloadloss normhkva emerghkva maxtap mintap numtaps %imag ppm_antifloat %rs x12 x13"
    " x23 rdcohms seasons ratings like",
    "wiredata": _CONDUCTOR,
    "cndata": f"k diastrand gmrstrand rstrand {_CABLE} {_CONDUCTOR}",
    "tsdata": f"diashield tapelayer tapelap {_CABLE} {_CONDUCTOR}",
    "linespacing": "nconds nphases x h units like",
    "linegeometry": "nconds nphases cond wire x h units normamps emergamps reduce spacing wires cncable tscable"
    " cncables tscables seasons ratings linetype like",
    "load": "phases bus1 kv kw pf model yearly daily duty growth conn kvar rneut xneut status class vminpu vmaxpu"
    " vminnorm vminemerg xfkva allocationfactor kva %mean %stddev cvrwatts cvrvars kwh kwhdays cfactor cvrcurve numcust"
    " zipv %seriesrl relweight vlowpu puxharm xrharm spectrum basefreq enabled like",
    "capacitor": f"bus1 bus2 phases kvar kv conn cmatrix cuf r xl harm numsteps states {_INHERITED}",
    "reactor": "bus1 bus2 phases kvar kv conn rmatrix xmatrix parallel r x rp z1 z2 z0 z rcurve lcurve lmh"
    f" {_INHERITED}",
    "regcontrol": "transformer winding vreg band ptratio ctprim r x bus delay reversible revvreg revband revr revx"
    " tapdelay debugtrace maxtapchange inversetime tapwinding vlimit ptphase revthreshold revdelay revneutral eventlog"
    " remoteptratio tapnum reset ldc_z rev_z cogen basefreq enabled like",
    "capcontrol": "element terminal capacitor type ptratio ctratio onsetting offsetting delay voltoverride vmax vmin"
    " delayoff deadtime ctphase ptphase vbus eventlog usermodel userdata pctminkvar reset controlsignal basefreq"
    " enabled like",
    "swtcontrol": "switchedobj switchedterm action lock delay normal state reset basefreq enabled like",
    "fuse": f"{_SWITCHED} fusecurve ratedcurrent delay action normal state basefreq enabled like",
    "recloser": f"{_SWITCHED} numfast phasefast phasedelayed groundfast grounddelayed phasetrip groundtrip phaseinst"
    " groundinst reset shots recloseintervals delay action tdphfast tdgrfast tdphdelayed tdgrdelayed normal state"
    " basefreq enabled like",
    "relay": f"{_SWITCHED} type phasecurve groundcurve phasetrip groundtrip tdphase tdground phaseinst groundinst reset"
    " shots recloseintervals delay overvoltcurve undervoltcurve kvbase 47%pickup 46baseamps 46%pickup 46isqt variable"
    " overtrip undertrip breakertime action z1mag z1ang z0mag z0ang mphase mground eventlog debugtrace distreverse"
    " normal state doc_tiltanglelow doc_tiltanglehigh doc_tripsettinglow doc_tripsettinghigh doc_tripsettingmag"
    " doc_delayinner doc_phasecurveinner doc_phasetripinner doc_tdphaseinner doc_p1blocking basefreq enabled like",
}
PROPERTIES: dict[str, tuple[str, ...]] = {kind: tuple(text.split()) for kind, text in _CLASSES.items()}
"""Properties of every class that is read, in OpenDSS's order."""
PLACES = {kind: {name: i for i, name in enumerate(names)} for kind, names in PROPERTIES.items()}
"""Their positions."""
REFERENCES = {
    ("line", "linecode"): "linecode",
    ("line", "geometry"): "linegeometry",
    ("transformer", "xfmrcode"): "xfmrcode",
    **{(kind, "spacing"): "linespacing" for kind in ("line", "linegeometry")},
    **{
        (kind, name): data
        for kind in ("line", "linegeometry")
        for name, data in (("wires", "wiredata"), ("cncables", "cndata"), ("tscables", "tsdata"))
    },
    ("linegeometry", "wire"): "wiredata",
    ("linegeometry", "cncable"): "cndata",
    ("linegeometry", "tscable"): "tsdata",
}
"""Properties that name elements of another class; those whose name ends in s may name several."""
STATEMENTS_LIKE = ("line", "linegeometry", "wiredata", "cndata", "tsdata")
"""Classes whose ``like`` repeats the statements of the other element; of all others the values as they stand."""
PARTLY_LIKE = ("xfmrcode", "vsource", "swtcontrol", "fuse", "recloser", "relay")
"""Classes of which OpenDSS's ``like`` copies a part."""
LIKE_FIRST = ("line", "linegeometry")
"""Classes in which nothing but buses may stand before ``like``."""

REPLACED = ("linecode", "loadshape", "tshape", "xycurve")
"""Classes whose elements may be defined again: later values count from then on."""

SCHEDULING = ("storagecontroller", "invcontrol", "expcontrol", "gendispatcher")
"""Classes that tell plants what to do, which mechanisms do here: left out and reported."""

HARMLESS = frozenset(_words("monitor energymeter priceshape spectrum growthshape tcc_curve sensor cnts"))
"""Classes that carry no current and switch nothing: left out and reported. An element that needs one says so."""

CHANGING = frozenset(
    _words(
        "allocateloads distribute estimate makeposseq nextyear obfuscate reconductor reduce rephase remove "
        "setloadandgenkv tear_circuit var"
    )
)
"""Commands that change elements in ways that are not followed: problems."""

COMMANDS = tuple(
    _words(
        "new edit more m ~ select save show solve enable disable plot reset compile set dump open close redirect "
        "help quit ? next panel sample clear about calcvoltagebases setkvbase buildy get init export fileedit "
        "voltages currents powers seqvoltages seqcurrents seqpowers losses phaselosses cktlosses allocateloads "
        "formedit totals capacity classes userclasses zsc zsc10 zscrefresh ysc puvoltages varvalues varnames "
        "buscoords makebuslist makeposseq reduce interpolate alignfile top rotate vdiff summary distribute di_plot "
        "comparecases yearlycurves cd visualize closedi doscmd estimate reconductor _initsnap _solvenocontrol "
        "_samplecontrols _docontrolactions _showcontrolqueue _solvedirect _solvepflow addbusmarker uuids "
        "setloadandgenkv cvrtloadshapes nodediff rephase setbusxy updatestorage obfuscate latlongcoords batchedit "
        "pstcalc valvar lat remove calclaplacian clearall comhelp var tear_circuit nextyear guids clearbusmarkers "
        "nodelist relcalc ymatrix log write"
    )
)
"""Commands; an abbreviation means the first that begins with it."""

FOLLOWED_OPTIONS = frozenset(
    _words(
        "allocationfactors basefrequency cfactors controlmode defaultbasefrequency frequency loadmult earthmodel"
        " voltagebases year class element object type genmult %growth cktmodel"
    )
)
"""Options of ``set`` that are followed, besides those of the clock; all others are left out and reported."""

OPTIONS = tuple(
    _words(
        "type element hour sec year frequency stepsize mode random number time class object circuit editor tolerance"
        " maxiterations h loadmodel loadmult normvminpu normvmaxpu emergvminpu emergvmaxpu %mean %stddev ldcurve"
        " %growth genkw genpf capkvar addtype allowduplicates zonelock ueweight lossweight ueregs lossregs voltagebases"
        " algorithm trapezoidal autobuslist controlmode tracecontrol genmult defaultdaily defaultyearly"
        " allocationfactors cktmodel pricesignal pricecurve terminal basefrequency harmonics maxcontroliter bus"
        " datapath keeplist reduceoption demandinterval %normal diverbose casename markercode nodewidth log recorder"
        " overloadreport voltexceptionreport cfactors showexport numallociterations defaultbasefrequency"
    )
)
"""Options in OpenDSS's order, as far as they are known by an abbreviation: the first that begins with it."""
