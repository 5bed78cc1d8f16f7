-- wrk: the same request as a POST.
wrk.method = 'POST'
