"""The browser page of `live`: a camera, stream or clip is tracked here, and displayed and controlled in a browser.

`worker` tracks the targets in a thread, `hub` sends its newest frame to every browser, `server` speaks HTTP. Needs
aiohttp (`pip install siamtrack[web]`); only `server` and `hub` import it.
"""
